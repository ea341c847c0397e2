//! Memory for the simulator: every schedule builds a small world and drops it, hundreds of thousands of times, and a
//! general allocator would take a third of the time. Freed pieces are kept by size, each thread's own, and given out
//! again. Nothing is ever given back to the system, so this is for this program only.

#![allow(
    unsafe_code,
    reason = "an allocator cannot be written without; tests of the crate run under the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Sizes are rounded up to this, which is also the alignment of every piece.
const GRAIN: usize = 16;
/// Larger pieces are the system's.
const PIECE_MAX: usize = 4096;
const SIZES: usize = PIECE_MAX / GRAIN;
/// What is taken from the system at once.
const CHUNK: usize = 512 * 1024;

/// The pieces of one thread.
struct Pool {
    /// Of each size the piece freed last; it begins with the address of the one before.
    free: [Cell<*mut u8>; SIZES],
    /// What is left of the latest chunk.
    next: Cell<*mut u8>,
    left: Cell<usize>,
}

thread_local!(static POOL: Pool = const {
    Pool {
        free: [const { Cell::new(ptr::null_mut()) }; SIZES],
        next: Cell::new(ptr::null_mut()),
        left: Cell::new(0),
    }
});

/// The allocator.
pub struct Pools;

/// Returns which list a piece belongs to, if it is not the system's.
fn list_of(layout: Layout) -> Option<usize> {
    let (size, align) = (layout.size(), layout.align());
    (size > 0 && size <= PIECE_MAX && align <= GRAIN).then(|| (size - 1) / GRAIN)
}

impl Pool {
    fn take(&self, list: usize) -> *mut u8 {
        let head = &self.free[list];
        let piece = head.get();
        if piece.is_null() {
            return self.cut((list + 1) * GRAIN);
        }
        // SAFETY: `give` wrote the address of the piece before at the beginning of this one, which is free and aligned.
        head.set(unsafe { piece.cast::<*mut u8>().read() });
        piece
    }

    fn cut(&self, size: usize) -> *mut u8 {
        if self.left.get() < size {
            let Ok(layout) = Layout::from_size_align(CHUNK, GRAIN) else { return ptr::null_mut() };
            // SAFETY: the layout's size is not zero.
            let chunk = unsafe { System.alloc(layout) };
            if chunk.is_null() {
                return chunk;
            }
            self.next.set(chunk);
            self.left.set(CHUNK);
        }
        let piece = self.next.get();
        // SAFETY: at least `size` bytes are left in the chunk behind `piece`.
        self.next.set(unsafe { piece.add(size) });
        self.left.set(self.left.get() - size);
        piece
    }

    fn give(&self, list: usize, piece: NonNull<u8>) {
        let head = &self.free[list];
        // SAFETY: the piece is the caller's no more, aligned to `GRAIN`, and at least `GRAIN` bytes long.
        unsafe { piece.cast::<*mut u8>().write(head.get()) };
        head.set(piece.as_ptr());
    }
}

// SAFETY: a piece is handed out once until it is given back: by one thread's lists, or by the system. The layout alone
// says by which, so that it goes back the way it came; a piece that another thread frees becomes that thread's.
unsafe impl GlobalAlloc for Pools {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match list_of(layout) {
            Some(list) => POOL.with(|pool| pool.take(list)),
            // SAFETY: the caller's promise is passed on.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match (list_of(layout), NonNull::new(piece)) {
            (Some(list), Some(piece)) => POOL.with(|pool| pool.give(list, piece)),
            // SAFETY: the caller's promise is passed on.
            _ => unsafe { System.dealloc(piece, layout) },
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size fits the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (list_of(layout), list_of(wanted)) {
            // SAFETY: the caller's promise is passed on.
            (None, None) => unsafe { System.realloc(piece, layout, size) },
            (Some(from), Some(to)) if from == to => piece,
            _ => {
                // SAFETY: the wanted size is not zero, as the caller promises.
                let fresh = unsafe { self.alloc(wanted) };
                if !fresh.is_null() {
                    // SAFETY: both pieces are at least as long as the shorter layout, and are not the same.
                    unsafe { ptr::copy_nonoverlapping(piece, fresh, layout.size().min(size)) };
                    // SAFETY: the old piece was allocated here with its layout.
                    unsafe { self.dealloc(piece, layout) };
                }
                fresh
            }
        }
    }
}
