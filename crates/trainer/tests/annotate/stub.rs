//! An HTTP server that answers what it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Value,
}

impl Request {
    /// The answer that was shown under `name`.
    pub(crate) fn answer(&self, name: &str) -> String {
        let text = self.body["messages"][1]["content"].as_str().unwrap();
        let (_, rest) = text.split_once(&format!("Answer {name}:\n")).unwrap();
        rest.split("\n\nAnswer").next().unwrap().to_owned()
    }
}

/// Status, further header lines, body.
pub(crate) type Reply = (u16, &'static str, String);

/// A completion that says `text`.
pub(crate) fn says(text: &str) -> Reply {
    let message = json!({"role": "assistant", "content": text});
    let body = json!({"choices": [{"message": message}], "usage": {"prompt_tokens": 100, "completion_tokens": 2}});
    (200, "", body.to_string())
}

pub(crate) struct Stub {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    /// Serves until the process ends; `reply` gets the number of the request, from 0.
    pub(crate) fn start(reply: impl Fn(usize, &Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let seen = requests.clone();
        std::thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                let stream = stream.unwrap();
                let request = receive(&stream);
                let (status, headers, body) = reply(index, &request);
                seen.lock().unwrap().push(request);
                let head = format!(
                    "HTTP/1.1 {status} x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
                    body.len()
                );
                (&stream).write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        Self { address, requests }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn receive(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        match header.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => authorization = Some(value.to_owned()),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Request { line, authorization, body: serde_json::from_slice(&body).unwrap() }
}
