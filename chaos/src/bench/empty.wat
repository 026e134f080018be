;; A proxy-wasm filter that lets every request pass: what V8 and the calls into it cost by themselves.
;; It counts its requests and tells the count ten times a second, which shows that it runs.
(module
  (import "env" "proxy_define_metric" (func $define_metric (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment_metric (param i32 i64) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $set_tick_period (param i32) (result i32)))
  (memory (export "memory") 1)
  ;; The counter's number is put at 0.
  (data (i32.const 16) "empty_requests")
  (global $untold (mut i64) (i64.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  ;; Where Envoy puts what it hands over; nothing of it is read.
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $define_metric (i32.const 0) (i32.const 16) (i32.const 14) (i32.const 0)))
    (drop (call $set_tick_period (i32.const 100)))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (global.set $untold (i64.add (global.get $untold) (i64.const 1)))
    (i32.const 0))
  (func (export "proxy_on_tick") (param i32)
    (drop (call $increment_metric (i32.load (i32.const 0)) (global.get $untold)))
    (global.set $untold (i64.const 0))))
