//! The session that writes, and how it finds out what became of a commit that was not answered.

use super::BEGIN_WRITE;
use super::link::Link;
use super::session::Session;
use crate::error::StoreError;
use crate::transaction::{Engine, Tx, View};
use crate::writer::Pen as _;
use std::sync::Arc;

/// Registers a writer under a fresh id, and forgets those that left no mark for 30 days.
pub(super) fn register(tx: &Tx<'_>) -> Result<String, StoreError> {
    tx.execute(
        "DELETE FROM writers WHERE marked_at < now() - interval '30 days'",
        (),
    )?;
    let id = tx.first(
        "INSERT INTO writers (id, group_number) VALUES (gen_random_uuid()::text, 0)
         RETURNING id",
        (),
        |row| {
            row.cell("id").map_err(|cause| StoreError::Row {
                table: "writers",
                cause,
            })
        },
    )?;
    id.ok_or(StoreError::Stopped)
}

/// The writer's session and the number of the group it writes.
pub(super) struct Pen {
    link: Arc<Link>,
    session: Option<Session>,
    id: String,
    group: i64,
}

impl Pen {
    pub(super) fn new(link: Arc<Link>, session: Session, id: String) -> Self {
        Self {
            link,
            session: Some(session),
            id,
            group: 0,
        }
    }

    fn session(&self) -> Result<&Session, StoreError> {
        self.session.as_ref().ok_or(StoreError::Stopped)
    }

    /// Leaves the mark by which a later look can tell that this group was committed.
    fn mark(&self) -> Result<(), StoreError> {
        let tx = Tx::new(self.engine()?);
        tx.execute(
            "INSERT INTO writers (id, group_number, marked_at) VALUES (?1, ?2, now())
             ON CONFLICT (id) DO UPDATE
             SET group_number = excluded.group_number, marked_at = excluded.marked_at",
            (&self.id, self.group),
        )?;
        Ok(())
    }

    /// Looks for the mark over a fresh connection. The lock is waited for first: as long as the
    /// old connection's commit is still under way, it holds it.
    fn marked(&mut self) -> Result<bool, StoreError> {
        self.session = None;
        let session = self.link.session()?;
        session.begin(BEGIN_WRITE)?;
        let found = View::new(Engine::Postgres(&session)).number(
            "SELECT count(*) AS n FROM writers WHERE id = ?1 AND group_number = ?2",
            (&self.id, self.group),
        )?;
        session.end("ROLLBACK")?;
        self.session = Some(session);
        Ok(found == 1)
    }
}

impl crate::writer::Pen for Pen {
    /// A session that died while it lay idle is replaced: nothing was asked of it yet.
    fn begin(&mut self) -> Result<(), StoreError> {
        self.group = self.group.saturating_add(1);
        if let Some(session) = &self.session
            && !session.closed()
        {
            match session.begin(BEGIN_WRITE) {
                Err(StoreError::Unreachable { .. }) => {}
                other => return other,
            }
        }
        self.session = None;
        let session = self.link.session()?;
        let begun = session.begin(BEGIN_WRITE);
        self.session = Some(session);
        begun
    }

    fn engine(&self) -> Result<Engine<'_>, StoreError> {
        self.session().map(Engine::Postgres)
    }

    fn run(&self, sql: &'static str) -> Result<(), StoreError> {
        self.session()?.run(sql)
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.session()?.closed() {
            let cause = "the connection broke inside of the transaction".to_owned();
            return Err(StoreError::Unreachable { cause });
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.mark()?;
        let Err(error) = self.session()?.end("COMMIT") else {
            return Ok(());
        };
        let StoreError::Unreachable { cause } = error else {
            return Err(error);
        };
        match self.marked() {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::Unreachable { cause }),
            Err(later) => Err(StoreError::Unsure {
                cause: format!("{cause}; then: {later}"),
            }),
        }
    }

    fn abandon(&mut self) {
        let ended = self.session().and_then(|s| s.end("ROLLBACK"));
        if ended.is_err() {
            // Closing it ends the transaction too.
            self.session = None;
        }
    }
}
