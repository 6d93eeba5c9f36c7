//! A registry on this machine that does what a test wants.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use kms_policy::image::{Digest, ImageReference};

use crate::images::made::Blobs;

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What comes back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Bytes after which the connection breaks.
    pub(crate) breaks_after: Option<usize>,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            breaks_after: None,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A server that answers by a function until the test ends.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) place: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_over(|stream| stream, answer)
    }

    /// One that speaks over what is made of a connection.
    pub(crate) fn start_over<S: Read + Write>(
        over: impl Fn(TcpStream) -> S + Send + Sync + 'static,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, over, answer) = (Arc::clone(&requests), Arc::new(over), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, over, answer) =
                    (Arc::clone(&seen), Arc::clone(&over), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut stream = over(stream.unwrap());
                    if let Some(request) = read(&mut stream) {
                        seen.lock().unwrap().push(request.clone());
                        write(&mut stream, &answer(&request));
                    }
                });
            }
        });
        Self { place, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |it| it.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}

fn write(stream: &mut impl Write, answer: &Answer) {
    let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", answer.status);
    head.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let end = answer.breaks_after.unwrap_or(answer.body.len());
    // A client that has seen enough goes away.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&answer.body[..end.min(answer.body.len())]);
    let _ = stream.flush();
}

/// What a registry holds.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) repository: String,
    pub(crate) blobs: Blobs,
    pub(crate) tags: BTreeMap<String, Digest>,
}

impl Content {
    pub(crate) fn new(repository: &str, blobs: Blobs, tags: &[(&str, &Digest)]) -> Self {
        let tags = tags
            .iter()
            .map(|(tag, digest)| ((*tag).to_owned(), (*digest).clone()));
        Self {
            repository: repository.to_owned(),
            blobs,
            tags: tags.collect(),
        }
    }

    /// The name of one of its images at a server.
    pub(crate) fn name(&self, server: &Server, tag: &str) -> ImageReference {
        let text = format!("{}/{}:{tag}", server.place, self.repository);
        ImageReference::parse(&text).unwrap()
    }

    /// What a registry answers, with parts of blobs too.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let base = format!("/v2/{}/", self.repository);
        let missing = || Answer::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#);
        let Some((kind, what)) = request
            .path
            .strip_prefix(&base)
            .and_then(|it| it.split_once('/'))
        else {
            return missing();
        };
        let digest = match self.tags.get(what).filter(|_| kind == "manifests") {
            Some(digest) => digest.clone(),
            None => match Digest::parse(what) {
                Ok(digest) => digest,
                Err(_) => return missing(),
            },
        };
        let Some(bytes) = self.blobs.0.get(&digest) else {
            return missing();
        };
        let range = request
            .header("range")
            .and_then(|it| it.strip_prefix("bytes="));
        match range.and_then(|it| it.strip_suffix('-')) {
            Some(from) => {
                let from: usize = from.parse().unwrap();
                let total = bytes.len();
                Answer::new(206, &bytes[from..]).with(
                    "Content-Range",
                    format!("bytes {from}-{}/{total}", total - 1),
                )
            }
            None => Answer::new(200, &**bytes).with("Docker-Content-Digest", digest.as_str()),
        }
    }
}
