"""The values that everything else speaks about; nothing here decides anything."""
