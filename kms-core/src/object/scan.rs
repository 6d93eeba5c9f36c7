//! Paging through a source without trusting it.

use crate::object::{ObjectSource, Revision, ScanOptions, ScanPage};
use crate::{CallOptions, Error, ErrorKind};

/// A scan in progress: asks for page after page, all at the revision of the first.
///
/// Every page is checked against the contract of [`ObjectSource`]: keys inside the range and
/// strictly ascending, one revision throughout, a cursor that moves. A census that counted what a
/// faulty source left out or gave twice would let a key be retired too early.
///
/// Holds one page at a time and survives cancellation: a page that was not handed out is asked
/// for again. After an error the scan can go on from where it was, which is right for errors that
/// are [retryable](Error::is_retryable) and pointless for others.
#[derive(Debug)]
pub struct Scan<'a> {
    source: &'a dyn ObjectSource,
    options: ScanOptions,
    done: bool,
}

impl<'a> Scan<'a> {
    /// Begins a scan, or continues one if the options have a cursor. Asks for nothing yet.
    #[must_use]
    pub const fn new(source: &'a dyn ObjectSource, options: ScanOptions) -> Self {
        Self {
            source,
            options,
            done: false,
        }
    }

    /// Sets what the next calls are told, such as a new deadline.
    pub fn set_call(&mut self, call: CallOptions) {
        self.options.call = call;
    }

    /// Where the scan stands: to continue it elsewhere, give these options to
    /// [`Scan::new`]. They hold the cursor and, after the first page, the revision.
    #[must_use]
    pub const fn position(&self) -> &ScanOptions {
        &self.options
    }

    /// The revision of the scan; none before the first page unless one was asked for.
    #[must_use]
    pub const fn revision(&self) -> Option<Revision> {
        self.options.at
    }

    /// Reads the next page; `None` after the last. Only the first page may be empty.
    ///
    /// # Errors
    ///
    /// What the source returns, in particular [`ErrorKind::Compacted`] if the revision of the scan
    /// is no longer kept; and [`ErrorKind::Protocol`] if the source breaks its contract.
    pub async fn next_page(&mut self) -> Result<Option<ScanPage>, Error> {
        if self.done {
            return Ok(None);
        }
        let page = self.source.scan(&self.options).await?;
        if let Some(fault) = self.fault(&page) {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("scan at revision {}: {fault}", page.revision),
            )
            .with_provider(self.source.to_string()));
        }
        self.options.at = Some(page.revision);
        match &page.next {
            Some(next) => self.options.after = Some(next.clone()),
            None => self.done = true,
        }
        Ok(Some(page))
    }

    /// What is wrong with a page, if anything.
    fn fault(&self, page: &ScanPage) -> Option<&'static str> {
        let mut last = self.options.after.as_ref();
        for object in &page.objects {
            if !self.options.contains(&object.key) {
                return Some("a key outside the range that was asked for");
            }
            if last.is_some_and(|last| object.key <= *last) {
                return Some("keys are not in ascending order");
            }
            if object.revision > page.revision {
                return Some("an object from after the revision");
            }
            last = Some(&object.key);
        }
        if self.options.at.is_some_and(|at| at != page.revision) {
            return Some("a page of another revision");
        }
        if u32::try_from(page.objects.len()).unwrap_or(u32::MAX) > self.options.page_limit.max(1) {
            return Some("a page longer than was asked for");
        }
        match &page.next {
            None => None,
            Some(_) if page.objects.is_empty() => Some("an empty page with a cursor"),
            Some(next) if Some(next) != last => Some("a cursor that is not the page's last key"),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::fmt;
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::object::{FetchOptions, ObjectKey, StoreIdentity, StoredObject};

    /// Gives the pages it was told to, whatever is asked.
    #[derive(Debug)]
    struct Script(Mutex<Vec<ScanPage>>);

    impl fmt::Display for Script {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("script")
        }
    }

    #[async_trait]
    impl ObjectSource for Script {
        async fn identity(&self, _: &CallOptions) -> Result<StoreIdentity, Error> {
            Ok(StoreIdentity::new("script", "", Revision::new(9), false))
        }

        async fn scan(&self, _: &ScanOptions) -> Result<ScanPage, Error> {
            Ok(self.0.lock().unwrap().remove(0))
        }

        async fn fetch(
            &self,
            _: &ObjectKey,
            _: &FetchOptions,
        ) -> Result<Option<StoredObject>, Error> {
            Ok(None)
        }
    }

    fn key(text: &str) -> ObjectKey {
        ObjectKey::new(text).unwrap()
    }

    fn page(keys: &[&str], next: Option<&str>, revision: u64) -> ScanPage {
        let objects = keys
            .iter()
            .map(|text| StoredObject::new(key(text), vec![], Revision::new(1)))
            .collect();
        ScanPage::new(objects, next.map(key), Revision::new(revision))
    }

    async fn read(pages: Vec<ScanPage>) -> Result<usize, Error> {
        let script = Script(Mutex::new(pages));
        let options = ScanOptions::default().with_prefix("k").with_page_limit(2);
        let mut scan = Scan::new(&script, options);
        let mut count = 0;
        while let Some(page) = scan.next_page().await? {
            count += page.objects.len();
        }
        Ok(count)
    }

    #[tokio::test]
    async fn honest_pages_are_read_to_the_end() {
        let pages = vec![page(&["k1", "k2"], Some("k2"), 5), page(&["k3"], None, 5)];
        assert_eq!(read(pages).await.unwrap(), 3);
        assert_eq!(read(vec![page(&[], None, 5)]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_source_that_breaks_its_contract_is_found_out() {
        let first = || page(&["k1", "k2"], Some("k2"), 5);
        let cases = [
            ("another revision", vec![first(), page(&["k3"], None, 6)]),
            ("a repeated key", vec![first(), page(&["k2"], None, 5)]),
            ("order", vec![page(&["k2", "k1"], None, 5)]),
            ("twice on one page", vec![page(&["k1", "k1"], None, 5)]),
            ("outside", vec![page(&["j"], None, 5)]),
            ("cursor ahead", vec![page(&["k1"], Some("k9"), 5)]),
            ("cursor behind", vec![page(&["k1", "k2"], Some("k1"), 5)]),
            ("empty with cursor", vec![page(&[], Some("k1"), 5)]),
            ("too long", vec![page(&["k1", "k2", "k3"], None, 5)]),
            ("future object", vec![page(&["k1"], None, 0)]),
        ];
        for (name, pages) in cases {
            let error = read(pages).await.expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Protocol, "{name}");
        }
    }
}
