//! What the host remembers: of the process (all workers) and of one VM (one worker).

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Headers, in order; names may repeat.
pub(crate) type Pairs = Vec<(String, Vec<u8>)>;

/// The status codes of the ABI that this host answers with.
pub(crate) mod status {
    pub(crate) const OK: u32 = 0;
    pub(crate) const NOT_FOUND: u32 = 1;
    pub(crate) const BAD_ARGUMENT: u32 = 2;
    pub(crate) const EMPTY: u32 = 7;
    pub(crate) const CAS_MISMATCH: u32 = 8;
    pub(crate) const INTERNAL_FAILURE: u32 = 10;
}

/// What all VMs of an Envoy process share.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// Nanoseconds since 1970 of the wall clock.
    pub(crate) wall: u64,
    /// Nanoseconds of the clock that never steps.
    pub(crate) monotonic: u64,
    /// Value and version of each entry of shared data.
    pub(crate) data: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    /// Queue number is place + 1.
    pub(crate) queues: Vec<Queue>,
    /// Metric number is place + 1.
    pub(crate) metrics: Vec<Metric>,
    /// How often one was defined, for each of which Envoy keeps a number as long as the VM lives.
    pub(crate) definitions: usize,
    pub(crate) workers: u32,
    pub(crate) tokens: u32,
}

/// A shared queue, and whom to wake: the context that registered its name last.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: Vec<u8>,
    pub(crate) worker: u32,
    pub(crate) root: u32,
    pub(crate) messages: VecDeque<Vec<u8>>,
    /// Wake-ups that the event loop has yet to deliver.
    pub(crate) wakes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) kind: MetricKind,
    /// Value of a counter or gauge, number of samples of a histogram.
    pub(crate) value: i64,
}

impl Process {
    pub(crate) fn start() -> Rc<RefCell<Self>> {
        let process = Self {
            wall: 1_700_000_000_000_000_000,
            monotonic: 1_000_000_000,
            ..Self::default()
        };
        Rc::new(RefCell::new(process))
    }

    /// Lets time pass on both clocks.
    pub(crate) fn advance(&mut self, millis: u64) {
        self.wall += millis * 1_000_000;
        self.monotonic += millis * 1_000_000;
    }

    /// The value of the metric with this name.
    pub(crate) fn metric(&self, name: &str) -> i64 {
        let found = self.metrics.iter().find(|metric| metric.name == name);
        found.unwrap_or_else(|| panic!("no metric {name}")).value
    }
}

/// One VM: one worker thread's instance of the module.
#[derive(Debug)]
pub(crate) struct Vm {
    pub(crate) process: Rc<RefCell<Process>>,
    pub(crate) number: u32,
    pub(crate) contexts: BTreeMap<u32, ContextState>,
    /// The context that host calls act on.
    pub(crate) effective: u32,
    /// Buffers of the callback that runs, by the ABI's buffer type.
    pub(crate) buffers: BTreeMap<u32, Vec<u8>>,
    /// Headers of the reply that is being delivered; a call that was reset has none.
    pub(crate) reply_headers: Option<Pairs>,
    /// HTTP calls under way.
    pub(crate) calls: Vec<HttpCall>,
    /// What the next `proxy_http_call` answers.
    pub(crate) dispatch_status: u32,
    /// Level and text.
    pub(crate) log: Vec<(u32, String)>,
    pub(crate) random: u64,
}

/// One context: a root, an HTTP stream or a connection.
#[derive(Debug, Default)]
pub(crate) struct ContextState {
    /// Of a stream: its root. Of a root: 0.
    pub(crate) root: u32,
    pub(crate) root_id: String,
    pub(crate) request: Option<Pairs>,
    pub(crate) response: Option<Pairs>,
    pub(crate) filter_state: BTreeMap<String, Vec<u8>>,
    pub(crate) resumed: u32,
    pub(crate) closed: bool,
    pub(crate) responses: Vec<LocalResponse>,
    pub(crate) tick_millis: Option<u32>,
    /// Of a root that was replaced and is not gone yet: whether it may go.
    pub(crate) done: Option<bool>,
}

/// An answer that the module sent itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalResponse {
    pub(crate) status: u32,
    pub(crate) grpc_status: i32,
    pub(crate) headers: Pairs,
    pub(crate) body: Vec<u8>,
}

/// An HTTP call that the module made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpCall {
    pub(crate) token: u32,
    /// The context it belongs to.
    pub(crate) context: u32,
    pub(crate) cluster: String,
    pub(crate) headers: Pairs,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout_millis: u32,
}

impl Vm {
    pub(crate) fn current(&mut self) -> &mut ContextState {
        let context = self.contexts.get_mut(&self.effective);
        context.unwrap_or_else(|| panic!("no context {}", self.effective))
    }

    /// A property as the effective context sees it.
    pub(crate) fn property(&self, path: &[u8]) -> Option<Vec<u8>> {
        let context = self.contexts.get(&self.effective)?;
        let root = self.contexts.get(&context.root).unwrap_or(context);
        match path {
            b"plugin_root_id" => Some(root.root_id.clone().into_bytes()),
            b"source\0address" if context.root != 0 => Some(b"192.0.2.7:4711".to_vec()),
            _ => None,
        }
    }

    /// The header map of the ABI's map type, while there is one.
    pub(crate) fn map(&mut self, kind: u32) -> Option<&mut Pairs> {
        match kind {
            0 => self.current().request.as_mut(),
            2 => self.current().response.as_mut(),
            6 => self.reply_headers.as_mut(),
            _ => None,
        }
    }
}
