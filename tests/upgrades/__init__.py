"""What each release has made in a database, frozen, to be migrated by every later one."""
