# Runs in the container `postgres`: makes the database at the first start, then becomes the server.
# Whoever reaches it is let in: its network has control planes only (compose.yaml).
set -eu
programs=$(ls -d /usr/lib/postgresql/*/bin)
data=/var/lib/cdnlab-postgres/data
if [ ! -s "$data/PG_VERSION" ]; then
  "$programs/initdb" --pgdata "$data" --username cdnlab --auth trust --encoding UTF8 --locale C > /dev/null
  printf 'host all all samenet trust\n' >> "$data/pg_hba.conf"
  echo 'CREATE DATABASE cdnlab;' | "$programs/postgres" --single -D "$data" postgres > /dev/null
fi
exec "$programs/postgres" -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
