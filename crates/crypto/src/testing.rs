//! What the tests of this crate hand in.

use ringfence_core::error::Explained;
use ringfence_core::ports::Entropy;

/// Always the same octet.
pub(crate) struct FixedEntropy(pub(crate) u8);

impl Entropy for FixedEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Explained> {
        buffer.fill(self.0);
        Ok(())
    }
}
