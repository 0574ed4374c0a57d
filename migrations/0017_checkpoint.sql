-- Places of the audit's chain that a host signed: with a key that the database has never seen, so that who rewrites the chain
-- cannot make them anew. They are numbered without a gap: one that was taken out is missed.

create table dinehub.audit_checkpoint (
  n bigint not null constraint audit_checkpoint_pkey primary key constraint audit_checkpoint_n_range check (n > 0),
  -- The event, and its hash.
  seq bigint not null constraint audit_checkpoint_seq_range check (seq > 0),
  hash bytea not null constraint audit_checkpoint_hash_length check (octet_length(hash) = 32),
  -- When, in microseconds since 1970.
  at_us bigint not null,
  -- The key's name in the ring `database`, and the HMAC by what is derived from it, in hexadecimal.
  key text not null constraint audit_checkpoint_key_length check (octet_length(key) between 1 and 32),
  mac text not null constraint audit_checkpoint_mac_length check (octet_length(mac) = 64)
);

do $$
begin
  revoke all on dinehub.audit_checkpoint from public;
  execute format('grant select, insert on dinehub.audit_checkpoint to %I', current_database() || '_control');
end $$;
