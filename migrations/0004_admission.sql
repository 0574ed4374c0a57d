-- Which artefact was proved by which version of the host, so that a start does not prove it again.

create table dinehub.admission (
  plugin text not null constraint admission_pkey primary key,
  -- Version of the host, and hex SHA-256 of the artefact.
  mark text not null constraint admission_mark_length check (char_length(mark) between 1 and 200),
  admitted_at timestamptz not null default now()
);
