//! What several modules' tests share.

use std::cell::RefCell;
use std::rc::Rc;

use crate::breaker::SharedCell;
use crate::matching::Host;

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

/// A host that knows these headers and properties, and notes what it was asked.
#[derive(Debug, Default)]
pub(crate) struct FakeHost {
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// By path, its parts joined by dots.
    pub(crate) properties: Vec<(String, Vec<u8>)>,
    pub(crate) asked: RefCell<Vec<String>>,
}

impl FakeHost {
    pub(crate) fn with_headers(headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter();
        Self {
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
            ..Self::default()
        }
    }

    pub(crate) fn property(mut self, path: &str, value: &str) -> Self {
        let entry = (path.to_owned(), value.as_bytes().to_vec());
        self.properties.push(entry);
        self
    }
}

impl Host for FakeHost {
    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.asked.borrow_mut().push("headers".to_owned());
        self.headers.clone()
    }

    fn property(&self, path: &[String]) -> Option<Vec<u8>> {
        let path = path.join(".");
        let mut known = self.properties.iter();
        let value = known.find(|(name, _)| *name == path);
        self.asked.borrow_mut().push(path);
        value.map(|(_, value)| value.clone())
    }
}
