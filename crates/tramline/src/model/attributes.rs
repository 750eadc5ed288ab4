//! Values that an application keeps with a session.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

/// A session's own values, one of each type. A session without values pays one word.
#[derive(Default)]
pub(crate) struct Attributes(OnceLock<Box<Mutex<Values>>>);

#[derive(Default)]
struct Values {
    by_type: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    at_end: Vec<Box<dyn FnOnce() + Send>>,
    ended: bool,
}

impl Attributes {
    /// The value of a type, made if there is none.
    pub(crate) fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let values = self.0.get_or_init(Box::default);
        if let Some(found) = values.lock().find() {
            return found;
        }
        // The application's code, which may ask for other attributes, runs without the lock.
        let made = Arc::new(T::default());
        let mut values = values.lock();
        if let Some(found) = values.find() {
            return found;
        }
        if !values.ended {
            let kept: Arc<dyn Any + Send + Sync> = Arc::clone(&made) as _;
            values.by_type.insert(TypeId::of::<T>(), kept);
        }
        made
    }

    /// Calls `callback` when the session ends; at once if it has.
    fn at_end(&self, callback: Box<dyn FnOnce() + Send>) {
        let values = self.0.get_or_init(Box::default);
        let mut values = values.lock();
        if values.ended {
            drop(values);
            callback();
        } else {
            values.at_end.push(callback);
        }
    }

    /// Removes everything; returns the callbacks in the order they were registered, then the closures that drop the
    /// values.
    pub(crate) fn end(&self) -> Vec<Box<dyn FnOnce() + Send>> {
        let Some(values) = self.0.get() else {
            return Vec::new();
        };
        let mut values = values.lock();
        values.ended = true;
        let let_go = std::mem::take(&mut values.by_type).into_values();
        let mut last = std::mem::take(&mut values.at_end);
        drop(values);
        // The values' own `Drop` is the application's code too, and runs after the last callback.
        last.extend(let_go.map(|value| Box::new(move || drop(value)) as Box<dyn FnOnce() + Send>));
        last
    }
}

impl Values {
    fn find<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let found = self.by_type.get(&TypeId::of::<T>())?;
        Arc::clone(found).downcast().ok()
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attributes")
    }
}

/// A value of the session's own: made by `T::default()` when a handler first asks for it, the same for all of the
/// session's handlers, and dropped when the session has ended.
///
/// One value for each type; give it a type of its own. It is shared, so put what changes in a `Mutex` or an atomic.
/// Fill it in the session's [`connect`](crate::MessageRouter::connect) handler; its
/// [`disconnect`](crate::MessageRouter::disconnect) handler still sees it. A session without such a value pays one
/// word. Spring: `SimpAttributes`, and beans of the scope `websocket`.
///
/// # Example: how many messages a session has sent
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tramline::Session;
///
/// #[derive(Default)]
/// struct Sent(AtomicU64);
///
/// async fn say(sent: Session<Sent>, line: String) -> String {
///     let number = sent.0.fetch_add(1, Ordering::Relaxed) + 1;
///     format!("{number}: {line}")
/// }
///
/// // Handlers are plain functions, and this argument can be made for a test of one.
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let sent = Session::<Sent>::default();
/// assert_eq!(say(sent.clone(), "hello".into()).await, "1: hello");
/// assert_eq!(say(sent, "bye".into()).await, "2: bye");
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Session<T> {
    value: Arc<T>,
    session: Option<Arc<crate::model::inbound::SessionRecord>>,
}

impl<T: Default + Send + Sync + 'static> Session<T> {
    pub(crate) fn of(session: &Arc<crate::model::inbound::SessionRecord>) -> Self {
        Self {
            value: session.attributes.get(),
            session: Some(Arc::clone(session)),
        }
    }
}

impl<T: Send + Sync + 'static> Session<T> {
    /// Calls `callback` with the value when the session has ended, after its `disconnect` handlers; at once if it has
    /// ended already. It runs in the session's task, so it must not block; callbacks run in the order they were
    /// registered. On a value that belongs to no session (see the example above) it is never called.
    pub fn on_end(&self, callback: impl FnOnce(&T) + Send + 'static) {
        if let Some(session) = &self.session {
            let value = Arc::clone(&self.value);
            session
                .attributes
                .at_end(Box::new(move || callback(&value)));
        }
    }
}

impl<T: Default> Default for Session<T> {
    fn default() -> Self {
        Self {
            value: Arc::default(),
            session: None,
        }
    }
}

impl<T> Clone for Session<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            session: self.session.clone(),
        }
    }
}

impl<T> Deref for Session<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.value).finish()
    }
}
