//! What happens next: events by their time, and among equal times by the order in which they were put in.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

#[derive(Debug)]
struct Timed<T> {
    at: i64,
    number: u64,
    event: T,
}

impl<T> PartialEq for Timed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl<T> Eq for Timed<T> {}
impl<T> PartialOrd for Timed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Timed<T> {
    /// The earliest is the greatest, because the heap hands out the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// Events in the order of their times.
#[derive(Debug)]
pub struct Queue<T> {
    heap: BinaryHeap<Timed<T>>,
    number: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), number: 0 }
    }
}

impl<T> Queue<T> {
    pub fn push(&mut self, at: i64, event: T) {
        self.number += 1;
        self.heap.push(Timed { at, number: self.number, event });
    }

    pub fn pop(&mut self) -> Option<(i64, T)> {
        self.heap.pop().map(|timed| (timed.at, timed.event))
    }
}
