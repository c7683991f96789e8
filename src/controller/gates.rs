//! How many passes may be busy with one token endpoint at a time: one that hangs delays no other (invariant 7).
//!
//! A pass that finds no place does not wait: it ends, and its asset is woken when a place has been set aside for it, in the order of asking. So a thousand assets that
//! wait cost a queue of names. (Were they a thousand waiting passes, the controller's queue of kube 5.0 would ask each of them at every wake-up of any.)

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::store::Key;

/// Has an asset looked at again.
type Wake = Box<dyn Fn(&Key) + Send + Sync>;

/// The gates of all token endpoints.
#[derive(Clone)]
pub(super) struct Gates(Arc<Shared>);

struct Shared {
    width: usize,
    wake: Wake,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    hosts: HashMap<Arc<str>, Gate>,
    /// Places that were given to assets whose passes have not come for them yet.
    set_aside: HashMap<Key, Arc<str>>,
}

/// One endpoint. It is forgotten when nobody is busy with it.
#[derive(Default)]
struct Gate {
    busy: usize,
    queue: VecDeque<Key>,
    /// Who in the queue still wants a place.
    waiting: HashSet<Key>,
}

/// A place at an endpoint. When it goes, the next one in the queue gets it.
pub(super) struct Place {
    gates: Gates,
    host: Arc<str>,
}

impl Gates {
    /// Gates that let in so many at a time, and a way to wake an asset.
    pub(super) fn new(width: usize, wake: impl Fn(&Key) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            width: width.max(1),
            wake: Box::new(wake),
            inner: Mutex::default(),
        }))
    }

    /// A place at this endpoint; if there is none, the asset is woken when there is.
    pub(super) fn enter(&self, asset: &Key, host: &str) -> Option<Place> {
        let mut inner = self.lock();
        let host: Arc<str> = inner
            .hosts
            .get_key_value(host)
            .map_or_else(|| host.into(), |(host, _)| Arc::clone(host));
        let gate = inner.hosts.entry(Arc::clone(&host)).or_default();
        if gate.busy < self.0.width {
            gate.busy = gate.busy.saturating_add(1);
            return Some(self.place(host));
        }
        if gate.waiting.insert(asset.clone()) {
            gate.queue.push_back(asset.clone());
        }
        None
    }

    /// The place that was set aside for this asset. Every pass must come for it, or nobody gets it.
    pub(super) fn claim(&self, asset: &Key) -> Option<Place> {
        let host = self.lock().set_aside.remove(asset)?;
        Some(self.place(host))
    }

    /// Takes an asset that is gone out of all queues.
    pub(super) fn forget(&self, asset: &Key) {
        for gate in self.lock().hosts.values_mut() {
            gate.waiting.remove(asset);
        }
        drop(self.claim(asset));
    }

    fn place(&self, host: Arc<str>) -> Place {
        Place {
            gates: self.clone(),
            host,
        }
    }

    /// Gives a place that became free to the next in the queue.
    fn pass_on(&self, host: &Arc<str>) {
        let next = {
            let mut inner = self.lock();
            let Some(gate) = inner.hosts.get_mut(host) else { return };
            let next = gate.next();
            if let Some(asset) = &next {
                inner.set_aside.insert(asset.clone(), Arc::clone(host));
            } else {
                gate.busy = gate.busy.saturating_sub(1);
                if gate.busy == 0 {
                    inner.hosts.remove(host);
                }
            }
            next
        };
        if let Some(asset) = next {
            (self.0.wake)(&asset);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    fn next(&mut self) -> Option<Key> {
        while let Some(asset) = self.queue.pop_front() {
            if self.waiting.remove(&asset) {
                return Some(asset);
            }
        }
        None
    }
}

impl Place {
    /// Whether it is a place at this endpoint.
    pub(super) fn is_at(&self, host: &str) -> bool {
        *self.host == *host
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gates.pass_on(&self.host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "login.example.com:443";

    /// Gates of one place, and who was woken.
    fn narrow() -> (Gates, Arc<Mutex<Vec<Key>>>) {
        let woken: Arc<Mutex<Vec<Key>>> = Arc::default();
        let log = Arc::clone(&woken);
        (
            Gates::new(1, move |asset| log.lock().unwrap().push(asset.clone())),
            woken,
        )
    }

    fn asset(name: &str) -> Key {
        Key::new("here", name)
    }

    #[test]
    fn a_place_that_becomes_free_is_set_aside_in_the_order_of_asking() {
        let (gates, woken) = narrow();
        let first = gates.enter(&asset("a"), HOST).unwrap();
        assert!(gates.enter(&asset("b"), HOST).is_none());
        assert!(gates.enter(&asset("c"), HOST).is_none());
        assert!(gates.enter(&asset("b"), HOST).is_none(), "asking twice is asking once");
        drop(first);
        assert_eq!(*woken.lock().unwrap(), [asset("b")]);
        assert!(gates.enter(&asset("d"), HOST).is_none(), "it is no longer free");
        drop(gates.claim(&asset("b")).unwrap());
        drop(gates.claim(&asset("c")).unwrap());
        drop(gates.claim(&asset("d")).unwrap());
        assert_eq!(*woken.lock().unwrap(), [asset("b"), asset("c"), asset("d")]);
        assert!(
            gates.lock().hosts.is_empty(),
            "a gate that nobody is busy with is forgotten"
        );
    }

    #[test]
    fn hosts_do_not_wait_for_each_other() {
        let (gates, _) = narrow();
        let _one = gates.enter(&asset("a"), HOST).unwrap();
        assert!(
            gates
                .enter(&asset("b"), "other.example.com:443")
                .unwrap()
                .is_at("other.example.com:443")
        );
    }

    #[test]
    fn an_asset_that_is_gone_keeps_no_place() {
        let (gates, woken) = narrow();
        let first = gates.enter(&asset("a"), HOST).unwrap();
        for name in ["b", "c", "d"] {
            assert!(gates.enter(&asset(name), HOST).is_none());
        }
        gates.forget(&asset("b"));
        drop(first);
        assert_eq!(*woken.lock().unwrap(), [asset("c")]);
        gates.forget(&asset("c"));
        assert_eq!(
            *woken.lock().unwrap(),
            [asset("c"), asset("d")],
            "its place went to the next"
        );
    }
}
