//! Signed checkpoints: somebody who owns the database, and not the vault, cannot cut, rewrite or hide.

use dinehub::{
    audit::{
        Log,
        chain::{Break, Checkpoint},
        seal::Seal,
        store,
    },
    command::audit,
    secret::ring::{Key, Ring},
};
use harness::database::{Database, connect};
use sqlx::PgPool;

use super::{ground, record};

/// Five checkpoints over fifty events, by a host that is gone.
struct Scene {
    database: Database,
    control: PgPool,
    admin: PgPool,
    ring: Ring,
    end: Checkpoint,
}

impl Scene {
    async fn open() -> Self {
        let (database, control, admin) = ground().await;
        let ring = Ring::of(Key::generate("2026-11").unwrap());
        let log = Log::open(control.clone(), 1_000, Seal::of(&ring).unwrap());
        record(&log, 50).await;
        let seal = Seal::of(&ring).unwrap();
        let (end, signed) = audit::check(&admin, &seal, None).await.unwrap().unwrap();
        assert_eq!((end.seq, signed), (50, 50), "who waits for the writing waits for the signing");
        // How many there are by now is a matter of batches: five, at known places.
        connect(&database.admin()).await.batch_execute("delete from dinehub.audit_checkpoint").await.unwrap();
        for row in store::after(&admin, 0, 50).await.unwrap().iter().filter(|row| row.seq % 10 == 0) {
            let place = Checkpoint { seq: row.seq, hash: row.hash.clone().try_into().unwrap() };
            assert!(store::sign(&control, &seal, &place).await.unwrap());
        }
        Self { database, control, admin, ring, end }
    }

    async fn check(&self) -> Result<(Checkpoint, i64), Break> {
        audit::check(&self.admin, &Seal::of(&self.ring).unwrap(), None).await.unwrap()
    }

    /// As the superuser.
    async fn sql(&self, text: &str) {
        connect(&self.database.admin()).await.batch_execute(text).await.unwrap();
    }
}

/// The chain from event `first` on, computed anew over a changed text.
fn anew(first: i64) -> String {
    format!(
        "do $$ declare e record; head bytea; begin
        update dinehub.audit_event set body = replace(body, '\"count\":', '\"count\":1') where seq = {first};
        select hash into head from dinehub.audit_event where seq = {first} - 1;
        head := coalesce(head, decode(repeat('00', 32), 'hex'));
        for e in select seq, body from dinehub.audit_event where seq >= {first} order by seq loop
          head := sha256(head || int8send(e.seq) || convert_to(e.body, 'UTF8'));
          update dinehub.audit_event set hash = head where seq = e.seq;
        end loop; end $$;"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_owns_the_database_alone_cannot_change_what_was_signed() {
    let scene = Scene::open().await;
    let old = "update dinehub.audit_event set body = regexp_replace(body, '\"at\":\"2[0-9]{3}', '\"at\":\"2001') where seq > 20;";
    // The copied signature of another place; the right one under another number; nothing at all.
    let moved =
        "update dinehub.audit_checkpoint set (seq, hash) = (select seq, hash from dinehub.audit_event where seq = 45)
        where n = 5";
    let swapped =
        "update dinehub.audit_checkpoint set n = 9 where n = 5; update dinehub.audit_checkpoint set n = 5 where n = 4;
        update dinehub.audit_checkpoint set n = 4 where n = 9";
    for (attack, found) in [
        ("delete from dinehub.audit_event where seq > 45".to_owned(), Break::CutOff { end: 45, checkpoint: 50 }),
        ("delete from dinehub.audit_event".to_owned(), Break::CutOff { end: 0, checkpoint: 50 }),
        (anew(1), Break::Replaced { checkpoint: 10 }),
        (anew(33), Break::Replaced { checkpoint: 40 }),
        (anew(50), Break::Replaced { checkpoint: 50 }),
        // The hash at the checkpoint made right as well: the signature is not.
        (
            format!(
                "{} update dinehub.audit_checkpoint c set hash = e.hash from dinehub.audit_event e where e.seq = c.seq",
                anew(33)
            ),
            Break::Forged { n: 4 },
        ),
        ("delete from dinehub.audit_checkpoint where n = 3".to_owned(), Break::Unmarked { n: 3 }),
        ("delete from dinehub.audit_checkpoint where n = 1".to_owned(), Break::Unmarked { n: 1 }),
        ("update dinehub.audit_checkpoint set at_us = at_us + 1 where n = 2".to_owned(), Break::Forged { n: 2 }),
        (moved.to_owned(), Break::Forged { n: 5 }),
        (swapped.to_owned(), Break::Forged { n: 4 }),
        // Rewritten, and every checkpoint from there on taken out: events that old have one.
        (format!("{old} {} delete from dinehub.audit_checkpoint where n > 2", anew(21)), Break::Unsigned { first: 21 }),
        // Every checkpoint under the name of a key that is in no ring.
        (
            format!("{old} {} update dinehub.audit_checkpoint set key = 'gone' where n > 2", anew(21)),
            Break::Unsigned { first: 21 },
        ),
    ] {
        scene
            .sql("create table kept as table dinehub.audit_event; create table marks as table dinehub.audit_checkpoint")
            .await;
        scene.sql(&attack).await;
        assert_eq!(scene.check().await, Err(found), "{attack}");
        scene
            .sql(
                "truncate dinehub.audit_event, dinehub.audit_checkpoint;
                 insert into dinehub.audit_event table kept; insert into dinehub.audit_checkpoint table marks;
                 drop table kept, marks",
            )
            .await;
        assert_eq!(scene.check().await.map(|(end, _)| end), Ok(scene.end), "as it was");
    }
}

/// What is cut back to an older checkpoint, together with the newer ones, is whole by itself. A checkpoint that was kept
/// elsewhere shows it; so does a host that runs meanwhile, in its log.
#[tokio::test]
async fn a_cut_back_to_an_older_checkpoint_shows_against_one_kept_elsewhere() {
    let scene = Scene::open().await;
    let book = crate::sandbox::Book::default();
    let writer = book.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let log = Log::open(scene.control.clone(), 1_000, Seal::of(&scene.ring).unwrap());
    record(&log, 1).await;
    scene.sql("delete from dinehub.audit_event where seq > 40; delete from dinehub.audit_checkpoint where n > 4").await;
    assert_eq!(scene.check().await.map(|(end, _)| end.seq), Ok(40));
    let kept = audit::check(&scene.admin, &Seal::of(&scene.ring).unwrap(), Some(scene.end)).await.unwrap();
    assert_eq!(kept, Err(Break::CutOff { end: 40, checkpoint: 50 }));
    record(&log, 1).await;
    let text = String::from_utf8(book.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("\"kind\":\"cut_off\""), "{text}");
}

/// A ring that was rotated signs on; a key that left it takes nothing from what a later one covers.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_ring_signs_on_and_another_ring_proves_nothing() {
    let scene = Scene::open().await;
    let other = Ring::of(Key::generate("2026-11").unwrap());
    let by = async |ring: &Ring| audit::check(&scene.admin, &Seal::of(ring).unwrap(), None).await.unwrap();
    assert_eq!(by(&other).await, Err(Break::Forged { n: 1 }), "a key of that name, and another one");
    let mut ring = Ring::of(Key::generate("2026-12").unwrap());
    ring.verifying.push(scene.ring.current.clone());
    record(&Log::open(scene.control.clone(), 10, Seal::of(&ring).unwrap()), 1).await;
    assert_eq!(by(&ring).await.map(|(end, signed)| (end.seq, signed)), Ok((51, 51)));
    ring.verifying.clear();
    assert_eq!(by(&ring).await.map(|(end, signed)| (end.seq, signed)), Ok((51, 51)));
    scene.sql(&super::signed::anew(5)).await;
    assert_eq!(by(&ring).await, Err(Break::Replaced { checkpoint: 51 }), "the last one covers all before it");
}
