-- `dinehub serve` compares the database with its artefacts before the first request, and needs no administrator's login
-- for it: what it reads besides PostgreSQL's catalogs are these two records. It may not write them.

do $$
begin
  execute format('grant select on dinehub.plugin_migration, dinehub.admission to %I', current_database() || '_control');
end $$;
