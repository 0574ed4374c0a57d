-- Which approval of a plugin this database has seen, so that an older one cannot come back unnoticed; and which of its
-- grants are used, so that reviewers can take away the others.

alter table dinehub.admission
  -- 0: approved for one run only, by the machine that built it.
  add column generation bigint not null default 0 constraint admission_generation_range check (generation >= 0);

create table dinehub.grant_use (
  plugin text not null,
  -- Interface and function, as the component imports them.
  import text not null constraint grant_use_import_length check (char_length(import) between 1 and 300),
  uses bigint not null constraint grant_use_uses_range check (uses > 0),
  first_used timestamptz not null default now(),
  last_used timestamptz not null default now(),
  constraint grant_use_pkey primary key (plugin, import)
);

do $$
begin
  execute format('grant select, insert, update on dinehub.grant_use to %I', current_database() || '_control');
end
$$;
