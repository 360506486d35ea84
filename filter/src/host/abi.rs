//! The boundary itself: the functions that Envoy offers, and those that it calls.
//!
//! Unsafe code is here and nowhere else. What makes it sound: a pointer handed to the host is that of a live slice or variable and is used only
//! during the call; a pointer received from the host is one that [`proxy_on_memory_allocate`] gave it for exactly that length; a VM has one thread.

#![allow(unsafe_code, reason = "the host is called, and calls, through C functions and raw memory")]

use std::cell::{Cell, RefCell};
use std::ptr;

use super::headers::{self, Headers};
use super::{Counter, Gauge, HeaderMap, Host, Level, LocalResponse, Refused};
use crate::filter::Filter;

mod import {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, message: *const u8, length: usize) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            kind: u32,
            start: usize,
            length: usize,
            bytes: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_set_effective_context(context: u32) -> u32;
        pub(super) fn proxy_get_header_map_value(
            map: u32,
            name: *const u8,
            length: usize,
            bytes: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_pairs(map: u32, bytes: *mut *mut u8, size: *mut usize) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            name: *const u8,
            name_length: usize,
            value: *const u8,
            value_length: usize,
        ) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            length: usize,
            bytes: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_property(
            path: *const u8,
            path_length: usize,
            value: *const u8,
            value_length: usize,
        ) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_length: usize,
            body: *const u8,
            body_length: usize,
            headers: *const u8,
            headers_length: usize,
            grpc_status: u32,
        ) -> u32;
        pub(super) fn proxy_get_shared_data(
            key: *const u8,
            length: usize,
            bytes: *mut *mut u8,
            size: *mut usize,
            cas: *mut u32,
        ) -> u32;
        pub(super) fn proxy_set_shared_data(
            key: *const u8,
            key_length: usize,
            value: *const u8,
            value_length: usize,
            cas: u32,
        ) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, name: *const u8, length: usize, id: *mut u32) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, offset: i64) -> u32;
        pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
        pub(super) fn random_get(bytes: *mut u8, length: usize) -> u32;
    }
}

/// The metric types and the clock that the ABI gives these numbers.
const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
const MONOTONIC: u32 = 1;
/// The buffer with the configuration of a root context.
const PLUGIN_CONFIGURATION: u32 = 7;

/// Envoy, or another host that speaks the ABI.
#[derive(Debug)]
pub(crate) struct Abi;

impl Host for Abi {
    fn log(&self, level: Level, message: &str) {
        // SAFETY: the pointer and length are those of a live slice. A log that is not written can't be reported either.
        unsafe { import::proxy_log(level as u32, message.as_ptr(), message.len()) };
    }

    fn now(&self) -> u64 {
        let mut time = 0;
        // SAFETY: the pointer is that of a live variable. Without a clock time stands still, and limits reject.
        unsafe { import::clock_time_get(MONOTONIC, 0, &raw mut time) };
        time
    }

    fn entropy(&self) -> u128 {
        let mut bytes = [0; 16];
        // SAFETY: the pointer and length are those of a live array.
        unsafe { import::random_get(bytes.as_mut_ptr(), bytes.len()) };
        u128::from_le_bytes(bytes)
    }

    fn configuration(&self, size: usize) -> Result<Vec<u8>, Refused> {
        // SAFETY: see `received`.
        received(|bytes, length| unsafe {
            import::proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, bytes, length)
        })
    }

    fn set_tick_period(&self, milliseconds: u32) -> Result<(), Refused> {
        // SAFETY: takes no pointer.
        accepted(unsafe { import::proxy_set_tick_period_milliseconds(milliseconds) })
    }

    fn set_effective_context(&self, context: u32) -> Result<(), Refused> {
        // SAFETY: takes no pointer.
        accepted(unsafe { import::proxy_set_effective_context(context) })
    }

    fn header(&self, map: HeaderMap, name: &str) -> Result<Vec<u8>, Refused> {
        // SAFETY: the pointer and length are those of a live slice; see `received`.
        received(|bytes, length| unsafe {
            import::proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), bytes, length)
        })
    }

    fn headers(&self, map: HeaderMap) -> Result<Headers, Refused> {
        // SAFETY: see `received`.
        received(|bytes, length| unsafe { import::proxy_get_header_map_pairs(map as u32, bytes, length) })
            .map(Headers::new)
    }

    fn set_request_header(&self, name: &str, value: &str) -> Result<(), Refused> {
        // SAFETY: the pointers and lengths are those of live slices.
        accepted(unsafe {
            import::proxy_replace_header_map_value(
                HeaderMap::Request as u32,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        })
    }

    fn property(&self, path: &str) -> Result<Vec<u8>, Refused> {
        // SAFETY: the pointer and length are those of a live slice; see `received`.
        received(|bytes, length| unsafe {
            import::proxy_get_property(path.as_ptr(), path.len(), bytes, length)
        })
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), Refused> {
        // SAFETY: the pointers and lengths are those of live slices.
        accepted(unsafe {
            import::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len())
        })
    }

    fn send_local_response(&self, response: &LocalResponse<'_>) -> Result<(), Refused> {
        let LocalResponse { status, details, body, headers, grpc_status } = *response;
        let mut encoded = Vec::with_capacity(256);
        headers::encode(headers, &mut encoded);
        // SAFETY: the pointers and lengths are those of live slices.
        accepted(unsafe {
            import::proxy_send_local_response(
                u32::from(status),
                details.as_ptr(),
                details.len(),
                body.as_ptr(),
                body.len(),
                encoded.as_ptr(),
                encoded.len(),
                grpc_status,
            )
        })
    }

    fn shared_data(&self, key: &[u8], value: &mut Vec<u8>) -> Result<u32, Refused> {
        let mut cas = 0;
        value.clear();
        // SAFETY: the pointers are those of a live slice and a live variable; see `received`.
        let bytes = received(|bytes, length| unsafe {
            import::proxy_get_shared_data(key.as_ptr(), key.len(), bytes, length, &raw mut cas)
        })?;
        // The host's buffer is as good as the caller's, so it changes hands instead of being copied.
        *value = bytes;
        Ok(cas)
    }

    fn set_shared_data(&self, key: &[u8], value: &[u8], cas: u32) -> Result<(), Refused> {
        // SAFETY: the pointers and lengths are those of live slices.
        accepted(unsafe {
            import::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas)
        })
    }

    fn define_counter(&self, name: &str) -> Result<Counter, Refused> {
        define_metric(COUNTER, name).map(Counter)
    }

    fn define_gauge(&self, name: &str) -> Result<Gauge, Refused> {
        define_metric(GAUGE, name).map(Gauge)
    }

    fn increment(&self, counter: Counter, by: u32) -> Result<(), Refused> {
        // SAFETY: takes no pointer.
        accepted(unsafe { import::proxy_increment_metric(counter.0, i64::from(by)) })
    }

    fn record(&self, gauge: Gauge, value: u64) -> Result<(), Refused> {
        // SAFETY: takes no pointer.
        accepted(unsafe { import::proxy_record_metric(gauge.0, value) })
    }
}

fn define_metric(kind: u32, name: &str) -> Result<u32, Refused> {
    let mut id = 0;
    // SAFETY: the pointers are those of a live slice and a live variable.
    accepted(unsafe { import::proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

const fn accepted(status: u32) -> Result<(), Refused> {
    match status {
        0 => Ok(()),
        refused => Err(Refused(refused)),
    }
}

/// Makes a call that returns bytes. The host asks [`proxy_on_memory_allocate`] for the room, and leaves both numbers at zero where there is nothing.
fn received(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Refused> {
    let mut bytes = ptr::null_mut();
    let mut length = 0;
    accepted(call(&raw mut bytes, &raw mut length))?;
    if bytes.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the host returns what `proxy_on_memory_allocate` gave it, room for this many bytes, and has filled all of it.
    let bytes = unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(bytes, length)) };
    Ok(bytes.into_vec())
}

thread_local! {
    static FILTER: RefCell<Filter<Abi>> = RefCell::new(Filter::new(Abi));
    static HOOKED: Cell<bool> = const { Cell::new(false) };
}

/// The host never calls back into the filter from one of its calls (it allocates, no more), so the state is free; if a host did, it would go
/// unprotected rather than fail.
fn with_filter<T>(otherwise: T, act: impl FnOnce(&mut Filter<Abi>) -> T) -> T {
    FILTER
        .try_with(|filter| filter.try_borrow_mut().ok().map(|mut filter| act(&mut filter)))
        .ok()
        .flatten()
        .unwrap_or(otherwise)
}

/// The name is the message: this module speaks version 0.2.1 of the ABI.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_abi_version_0_2_1() {}

/// Room for bytes that the host is about to return; [`received`] takes it over.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let mut room = Vec::new();
    // The host takes a null pointer for "no memory", where a failing allocation would end the VM.
    if room.try_reserve_exact(size).is_err() || room.capacity() != size {
        return ptr::null_mut();
    }
    let mut room = std::mem::ManuallyDrop::new(room);
    room.as_mut_ptr()
}

/// A root context gets its configuration; 0 refuses it.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    if !HOOKED.replace(true) {
        // A panic would be a bug, and a trap that says nothing.
        std::panic::set_hook(Box::new(|panic| Abi.log(Level::Error, &format!("spillway: {panic}"))));
    }
    with_filter(0, |filter| u32::from(filter.on_configure(root, size)))
}

/// Time goes by.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_tick(root: u32) {
    with_filter((), |filter| filter.on_tick(root));
}

/// A request has come; 1 stops it.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_request_headers(context: u32, _headers: u32, end_of_stream: u32) -> u32 {
    with_filter(0, |filter| u32::from(filter.on_request_headers(context, end_of_stream != 0).is_stopped()))
}

/// A stream is over: the last callback that it gets here, and in some the only one.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn proxy_on_log(context: u32) {
    with_filter((), |filter| filter.on_log(context));
}
