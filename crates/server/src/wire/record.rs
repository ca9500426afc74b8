//! RECORD as the port [`LeafSink`].

use ringfence_core::error::Explained;
use ringfence_core::leaf::Leaf;
use ringfence_core::ports::{BoxFuture, LeafSink, LeafSlot, Receipt};
use ringfence_record::RecorderClient;
use ringfence_record::client::Slot;

/// The recorder behind the port.
pub struct Sink(pub RecorderClient);

impl LeafSink for Sink {
    fn append(&self, leaf: Leaf) -> BoxFuture<'_, Result<Receipt, Explained>> {
        Box::pin(async move { self.0.append(leaf).await.map_err(|e| Explained::of(&e)) })
    }

    fn offer(&self) -> Result<Box<dyn LeafSlot>, Explained> {
        let slot = self.0.offer().map_err(|e| Explained::of(&e))?;
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
