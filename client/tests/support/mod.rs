//! Scripted nodes: servers that answer as told and keep what they were sent.
#![allow(dead_code)] // Each test binary uses its part.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const UNAVAILABLE: &str = r#"{"code":"unavailable","detail":"2 owners are needed"}"#;
pub const COUNTED: &str =
    r#"{"value":5,"context":"abc","acks":{"owners":2,"hints":1,"durable":2}}"#;

/// What the scripted node does with one request.
#[derive(Clone)]
pub enum Act {
    /// Answers with status, headers and body.
    Answer(u16, &'static str, String),
    /// Reads the request and closes the connection.
    Hang,
    /// Reads the request and says nothing.
    Silence,
}

/// A node that does with its requests, in turn, what it is told, and the last again and again.
pub struct Node {
    pub url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Node {
    pub async fn start(act: Act) -> Node {
        Node::with(vec![act]).await
    }

    pub async fn with(acts: Vec<Act>) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acts.clone(), requests.clone()));
            }
        });
        Node { url, seen }
    }

    pub async fn json(status: u16, body: &str) -> Node {
        Node::start(Act::Answer(status, "content-type: application/json\r\n", body.into())).await
    }

    pub fn sent(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn last(&self) -> String {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, acts: Vec<Act>, seen: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = read_request(&mut stream).await {
        let turn = {
            let mut seen = seen.lock().unwrap();
            seen.push(request);
            seen.len() - 1
        };
        match &acts[turn.min(acts.len() - 1)] {
            Act::Hang => return,
            Act::Silence => tokio::time::sleep(Duration::from_secs(60)).await,
            Act::Answer(status, headers, body) => {
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        text += &String::from_utf8_lossy(&buffer[..count]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_lowercase().lines().find_map(|line| {
            line.strip_prefix("content-length: ").map(|length| length.parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or_default() {
            return Some(text);
        }
    }
}

/// A url where nobody listens.
pub async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A success with that body.
pub fn ok(body: &str) -> Act {
    Act::Answer(200, "content-type: application/json\r\n", body.into())
}

/// A refusal with that status, of a node that wants to be asked again after so many seconds.
pub fn refusal(status: u16, retry_after: Option<u8>) -> Act {
    let headers = match retry_after {
        None => "",
        Some(1) => "retry-after: 1\r\n",
        Some(_) => "retry-after: 30\r\n",
    };
    Act::Answer(status, headers, UNAVAILABLE.into())
}
