//! RECORD as the port [`LeafSink`].

use ringfence_core::error::Explained;
use ringfence_core::leaf::Leaf;
use ringfence_core::ports::{BoxFuture, LeafSink, LeafSlot, Receipt};
use ringfence_record::RecorderClient;
use ringfence_record::client::Slot;
use std::sync::{Arc, OnceLock};

/// The recorder behind the port, until a witness shows that its log is not the one that was seen.
pub struct Sink {
    client: RecorderClient,
    /// Why nothing more is taken, once that is so.
    pub halted: Arc<OnceLock<Explained>>,
}

impl Sink {
    /// Takes leaves for this recorder.
    pub fn new(client: RecorderClient) -> Self {
        Self {
            client,
            halted: Arc::default(),
        }
    }

    fn open(&self) -> Result<&RecorderClient, Explained> {
        match self.halted.get() {
            None => Ok(&self.client),
            Some(error) => Err(error.clone()),
        }
    }
}

impl LeafSink for Sink {
    fn append(&self, leaf: Leaf) -> BoxFuture<'_, Result<Receipt, Explained>> {
        Box::pin(async move {
            let client = self.open()?;
            client.append(leaf).await.map_err(|e| Explained::of(&e))
        })
    }

    fn offer(&self) -> Result<Box<dyn LeafSlot>, Explained> {
        let slot = self.open()?.offer().map_err(|e| Explained::of(&e))?;
        Ok(Box::new(Filled(slot)))
    }
}

struct Filled(Slot);

impl LeafSlot for Filled {
    fn sequence(&self) -> u64 {
        self.0.sequence()
    }

    fn settle(self: Box<Self>, leaf: Leaf) {
        self.0.settle(leaf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_core::error::ErrorCode;
    use ringfence_core::ids::ProjectId;
    use ringfence_core::leaf::LeafAction;
    use ringfence_core::time::Timestamp;

    #[tokio::test]
    async fn a_log_that_a_witness_knows_otherwise_takes_neither_leaf_nor_slot() {
        let (client, _driver) = RecorderClient::connect("/nonexistent/recorder.sock");
        let sink = Sink::new(client);
        let leaf = || {
            let (now, project) = (Timestamp(0), ProjectId::host());
            Leaf::new(now, project, "service", LeafAction::ServiceStart, "x")
        };
        // Before it is so, the recorder is asked.
        assert_eq!(sink.offer().err().unwrap().code, "record/unreachable");
        let error = Explained::new(ErrorCode("record/rolled-back"), "it was", "look");
        sink.halted.set(error.clone()).unwrap();
        assert_eq!(sink.append(leaf()).await, Err(error.clone()));
        assert_eq!(sink.offer().err(), Some(error));
    }
}
