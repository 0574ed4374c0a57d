-- What happened that somebody may ask about later: one row an event, chained by hashes.
--
-- hash = SHA-256 of the hash before it (32 zero bytes for the first), the number (8 bytes, big-endian) and the text in UTF-8.
-- Who changes, takes out or adds a row between others breaks every hash after it; who makes all of them anew, or cuts off
-- the end, no longer meets a checkpoint that was written down elsewhere: `dinehub audit verify --checkpoint`.

create table dinehub.audit_event (
  seq bigint not null constraint audit_event_pkey primary key constraint audit_event_seq_range check (seq > 0),
  -- As in the text: a batch that is sent again because nobody heard that it arrived is not written again.
  id uuid not null constraint audit_event_is_written_once unique,
  -- JSON, as it was hashed.
  body text not null constraint audit_event_body_length check (octet_length(body) between 2 and 8192),
  hash bytea not null constraint audit_event_hash_length check (octet_length(hash) = 32)
);

-- Writes events at the end, and gives the end's number and hash. One writer at a time, over all nodes; it waits for no lock
-- longer than two seconds, because a batch can be sent again.
create function dinehub.append_audit(ids uuid[], bodies text[], out last bigint, out head bytea)
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
begin
  perform pg_advisory_xact_lock(4950237, 2);
  select e.seq, e.hash into last, head from dinehub.audit_event e order by e.seq desc limit 1;
  last := coalesce(last, 0);
  head := coalesce(head, decode(repeat('00', 32), 'hex'));
  for at in 1..cardinality(ids) loop
    continue when exists (select from dinehub.audit_event e where e.id = ids[at]);
    last := last + 1;
    head := sha256(head || int8send(last) || convert_to(bodies[at], 'UTF8'));
    insert into dinehub.audit_event (seq, id, body, hash) values (last, ids[at], bodies[at], head);
  end loop;
end $$;

do $$
declare
  control text := quote_ident(current_database() || '_control');
begin
  revoke all on dinehub.audit_event from public;
  revoke all on function dinehub.append_audit(uuid[], text[]) from public;
  -- It adds, and reads what it must to add: never an event's text, and it changes and deletes none.
  execute format('grant insert, select (seq, id, hash) on dinehub.audit_event to %s', control);
  execute format('grant execute on function dinehub.append_audit(uuid[], text[]) to %s', control);
end $$;
