-- What of each plugin's migrations has run. Written by the host's admin login only.

create schema if not exists dinehub;

create table dinehub.plugin_migration (
  plugin text not null,
  name text not null,
  -- of the file's text, in hex: a file that ran may never change
  sha256 text not null,
  -- The owner's transaction that runs it, until its end is known: the owner cannot write here, so this row is written
  -- first and settled after (pg_xact_status tells, also after a crash between the two).
  running xid8,
  started_at timestamptz not null default now(),
  constraint plugin_migration_runs_once primary key (plugin, name)
);

revoke all on dinehub.plugin_migration from public;
