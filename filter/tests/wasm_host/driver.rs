//! Drives one worker: Envoy's callbacks, in Envoy's order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use wasmi::{Instance, Linker, Store, WasmParams, WasmResults};

use super::module::built;
use super::state::{ContextState, HttpCall, LocalResponse, Pairs, Process, Vm, status};
use super::{abi, wasi};

const DOWNSTREAM_DATA: u32 = 2;
const UPSTREAM_DATA: u32 = 3;
const CALL_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;

/// Who closed a connection.
const UNKNOWN_CLOSE: u32 = 0;
const LOCAL_CLOSE: u32 = 1;

/// A worker thread of Envoy's, with its instance of the module.
pub(crate) struct Worker {
    store: Store<Vm>,
    instance: Instance,
    next_context: u32,
}

/// What the module wants done with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Continue,
    Pause,
}

/// How a call ends.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A response with this status and body.
    Response(u32, Vec<u8>),
    /// The connection was reset: no response, so no headers.
    Reset,
}

impl Worker {
    pub(crate) fn start(process: &Rc<RefCell<Process>>) -> Self {
        let (engine, module) = built();
        process.borrow_mut().workers += 1;
        let number = process.borrow().workers;
        let vm = Vm {
            process: Rc::clone(process),
            number,
            contexts: BTreeMap::new(),
            effective: 0,
            buffers: BTreeMap::new(),
            reply_headers: None,
            calls: Vec::new(),
            dispatch_status: status::OK,
            log: Vec::new(),
            random: number.into(),
        };
        let mut store = Store::new(engine, vm);
        let mut linker = Linker::new(engine);
        abi::link(&mut linker, module).unwrap();
        wasi::link(&mut linker).unwrap();
        let instance = linker.instantiate_and_start(&mut store, module).unwrap();
        let mut worker = Self {
            store,
            instance,
            next_context: 1,
        };
        worker.run::<(), ()>("_initialize", ());
        worker
    }

    /// Calls an export. A trap fails the test and shows the log.
    fn run<P: WasmParams, R: WasmResults>(&mut self, export: &str, params: P) -> R {
        let function = self
            .instance
            .get_typed_func::<P, R>(&self.store, export)
            .unwrap();
        let result = function.call(&mut self.store, params);
        let log = &self.store.data().log;
        let result =
            result.unwrap_or_else(|trap| panic!("{export} trapped: {trap}\nlog: {log:#?}"));
        self.forget_done();
        result
    }

    /// After each call the host deletes the roots that said they are done.
    fn forget_done(&mut self) {
        let contexts = self.vm().contexts.iter();
        let done = contexts.filter(|(_, state)| state.done == Some(true));
        let done: Vec<u32> = done.map(|(context, _)| *context).collect();
        for context in done {
            self.vm().contexts.get_mut(&context).unwrap().done = None;
            self.forget(context);
        }
    }

    /// Calls back about one context.
    fn on<P: WasmParams, R: WasmResults>(&mut self, context: u32, export: &str, params: P) -> R {
        self.vm().effective = context;
        self.run(export, params)
    }

    pub(crate) fn vm(&mut self) -> &mut Vm {
        self.store.data_mut()
    }

    /// Bytes of the instance's memory, which never shrinks.
    pub(crate) fn memory_bytes(&self) -> usize {
        let memory = self.instance.get_memory(&self.store, "memory").unwrap();
        memory.data_size(&self.store)
    }

    pub(crate) fn stream(&mut self, context: u32) -> &mut ContextState {
        self.vm().contexts.get_mut(&context).unwrap()
    }

    fn create(&mut self, state: ContextState) -> u32 {
        let (context, root) = (self.next_context, state.root);
        self.next_context += 1;
        self.vm().contexts.insert(context, state);
        self.on::<_, ()>(context, "proxy_on_context_create", (context, root));
        context
    }

    /// Starts a root and configures it; the log when it refuses.
    pub(crate) fn root(
        &mut self,
        root_id: &str,
        configuration: impl AsRef<[u8]>,
    ) -> Result<u32, String> {
        let state = ContextState {
            root_id: root_id.to_owned(),
            ..ContextState::default()
        };
        let root = self.create(state);
        let started: u32 = self.on(root, "proxy_on_vm_start", (root, 0u32));
        assert_eq!(started, 1, "{:?}", self.vm().log);
        let bytes = configuration.as_ref().to_vec();
        let size = bytes.len() as u32;
        self.vm().buffers.insert(PLUGIN_CONFIGURATION, bytes);
        let accepted: u32 = self.on(root, "proxy_on_configure", (root, size));
        self.vm().buffers.clear();
        if accepted == 1 {
            Ok(root)
        } else {
            Err(self.log())
        }
    }

    pub(crate) fn log(&mut self) -> String {
        let lines = self
            .vm()
            .log
            .iter()
            .map(|(level, text)| format!("{level}: {text}\n"));
        lines.collect()
    }

    /// A request's headers arrive.
    pub(crate) fn request(&mut self, root: u32, headers: Pairs) -> (u32, Action) {
        let count = headers.len() as u32;
        let state = ContextState {
            root,
            request: Some(headers),
            ..ContextState::default()
        };
        let stream = self.create(state);
        let paused: u32 = self.on(stream, "proxy_on_request_headers", (stream, count, 1u32));
        let action = action(paused);
        if action == Action::Continue {
            self.stream(stream).request = None;
        }
        (stream, action)
    }

    /// The upstream's response headers pass through; as the client gets them.
    pub(crate) fn response(&mut self, stream: u32, headers: Pairs) -> Pairs {
        let count = headers.len() as u32;
        self.stream(stream).response = Some(headers);
        let paused: u32 = self.on(stream, "proxy_on_response_headers", (stream, count, 0u32));
        assert_eq!(action(paused), Action::Continue);
        self.stream(stream).response.take().unwrap()
    }

    /// Ends a context: a stream that is over, or a root that was replaced, which may ask to stay
    /// until it is done.
    pub(crate) fn delete(&mut self, context: u32) {
        let done: u32 = self.on(context, "proxy_on_done", context);
        if done == 1 {
            self.on::<_, ()>(context, "proxy_on_log", context);
            self.forget(context);
        } else {
            let state = self.stream(context);
            assert_eq!(state.root, 0, "a stream does not stay");
            state.done = Some(false);
        }
    }

    /// The context is gone, and its calls with it.
    fn forget(&mut self, context: u32) {
        self.on::<_, ()>(context, "proxy_on_delete", context);
        let gone = self.vm().contexts.remove(&context).unwrap();
        // Envoy's timer of a root outlives it, and fires for the life of the VM.
        assert_eq!(gone.tick_millis.unwrap_or(0), 0, "it ticks when it is gone");
        self.vm().calls.retain(|call| call.context != context);
    }

    /// The event loop turns: the queues' wake-ups of this worker are delivered.
    pub(crate) fn turn(&mut self) {
        let number = self.vm().number;
        let mut due = Vec::new();
        for (place, queue) in self.vm().process.borrow_mut().queues.iter_mut().enumerate() {
            if queue.worker == number {
                let wakes = std::mem::take(&mut queue.wakes);
                due.extend((0..wakes).map(|_| (queue.root, place as u32 + 1)));
            }
        }
        for (root, queue) in due {
            if self.vm().contexts.contains_key(&root) {
                self.on::<_, ()>(root, "proxy_on_queue_ready", (root, queue));
            }
        }
    }

    pub(crate) fn tick(&mut self, root: u32) {
        self.on::<_, ()>(root, "proxy_on_tick", root);
    }

    /// The calls under way.
    pub(crate) fn calls(&mut self) -> Vec<HttpCall> {
        self.vm().calls.clone()
    }

    /// Ends the oldest call. The host tells each call's end once, and forgets it first.
    pub(crate) fn reply(&mut self, reply: Reply) {
        let call = self.vm().calls.remove(0);
        let (headers, body) = match reply {
            Reply::Response(code, body) => (
                Some(vec![(":status".to_owned(), code.to_string().into_bytes())]),
                body,
            ),
            Reply::Reset => (None, Vec::new()),
        };
        let sizes = (
            headers.as_ref().map_or(0, Vec::len) as u32,
            body.len() as u32,
        );
        self.vm().reply_headers = headers;
        self.vm().buffers.insert(CALL_BODY, body);
        let params = (call.context, call.token, sizes.0, sizes.1, 0u32);
        self.on::<_, ()>(call.context, "proxy_on_http_call_response", params);
        self.vm().reply_headers = None;
        self.vm().buffers.clear();
    }

    /// The one answer that the module gave a request itself, if any.
    pub(crate) fn local_response(&mut self, stream: u32) -> Option<LocalResponse> {
        let responses = &self.stream(stream).responses;
        assert!(responses.len() <= 1, "answered twice: {responses:?}");
        responses.first().cloned()
    }

    /// A connection arrives at the network filter.
    pub(crate) fn connection(&mut self, root: u32) -> u32 {
        let connection = self.create(ContextState {
            root,
            ..ContextState::default()
        });
        let paused: u32 = self.on(connection, "proxy_on_new_connection", connection);
        assert_eq!(action(paused), Action::Continue);
        connection
    }

    /// Bytes from the caller; what goes on to the store.
    pub(crate) fn downstream(&mut self, connection: u32, bytes: &[u8]) -> (Vec<u8>, Action) {
        self.data(
            connection,
            DOWNSTREAM_DATA,
            "proxy_on_downstream_data",
            (bytes, false),
        )
    }

    /// Bytes from the store; what goes on to the caller.
    pub(crate) fn upstream(&mut self, connection: u32, bytes: &[u8]) -> (Vec<u8>, Action) {
        let export = "proxy_on_upstream_data";
        self.data(connection, UPSTREAM_DATA, export, (bytes, false))
    }

    /// The last bytes from the store, and its end; what goes on to the caller. A connection that the
    /// module closes meanwhile is gone before Envoy tells of that end.
    pub(crate) fn upstream_end(&mut self, connection: u32, bytes: &[u8]) -> Vec<u8> {
        let export = "proxy_on_upstream_data";
        let (answer, _) = self.data(connection, UPSTREAM_DATA, export, (bytes, true));
        if self.stream(connection).closed {
            let params = (connection, LOCAL_CLOSE);
            self.on::<_, ()>(connection, "proxy_on_downstream_connection_close", params);
            self.delete(connection);
        }
        let params = (connection, UNKNOWN_CLOSE);
        self.on::<_, ()>(connection, "proxy_on_upstream_connection_close", params);
        answer
    }

    fn data(
        &mut self,
        at: u32,
        kind: u32,
        export: &str,
        (bytes, ends): (&[u8], bool),
    ) -> (Vec<u8>, Action) {
        let size = bytes.len() as u32;
        self.vm().buffers.insert(kind, bytes.to_vec());
        let paused: u32 = self.on(at, export, (at, size, u32::from(ends)));
        let left = self.vm().buffers.remove(&kind).unwrap_or_default();
        (left, action(paused))
    }
}

fn action(code: u32) -> Action {
    match code {
        0 => Action::Continue,
        1 => Action::Pause,
        other => panic!("action {other}"),
    }
}
