// Draws what the page holds; what cannot be drawn says so in its place, and the rest of the page stays.
const data = JSON.parse(document.getElementById("data").textContent);
for (const [id, drawing] of [["world", WorldMap], ["timeline", Timeline]]) {
  const root = document.getElementById(`${id}-drawing`);
  if (!root || !data[id]) continue;
  try { new drawing(root, data[id]); } catch (error) {
    root.append(make("p", { class: "note" }, `This could not be drawn: ${error}`));
    console.error(error);
  }
}
