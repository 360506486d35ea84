//! An upstream that a test answers for itself, because the demo's has no words for what it is to do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::Result;

/// Listens on a port of its own and answers each request with what `answer` makes of its head, in lower case: all that comes after `HTTP/1.1 `. Connections have a thread each, which may
/// take its time; they end with the test's process.
pub(crate) fn upstream(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || serve(&stream, &*answer));
        }
    });
    Ok(port)
}

fn serve(stream: &TcpStream, answer: &dyn Fn(&str) -> String) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let answer = answer(&head.to_ascii_lowercase());
        let mut stream = stream;
        stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).ok()?;
    }
}
