//! What several modules' tests share.

use std::cell::RefCell;
use std::rc::Rc;

use crate::breaker::SharedCell;

/// Shared data of a process: bytes and the number of their version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell(Rc<RefCell<Versioned>>);

type Versioned = Option<(Vec<u8>, u32)>;

impl SharedCell for Cell {
    fn load(&mut self) -> Option<(Vec<u8>, u32)> {
        self.0.borrow().clone()
    }

    fn store(&mut self, bytes: &[u8], cas: u32) -> bool {
        let mut held = self.0.borrow_mut();
        let version = held.as_ref().map_or(0, |(_, version)| *version);
        if version != 0 && cas != 0 && cas != version {
            return false;
        }
        *held = Some((bytes.to_vec(), version + 1));
        true
    }
}
