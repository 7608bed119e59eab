//! Pages on loan.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tureen_kernels::{Page, PageShape};

use super::reserve::Reserve;
use crate::budget::{Budget, Lease, Purpose};
use crate::device::{DevicePage, Numbers};

/// Smaller pages are allocated one by one.
const LARGE: usize = 64 << 10;
/// Bytes of a huge page: less is not worth allocating together.
const HUGE: usize = 2 << 20;
/// Most bytes that are allocated at once, unless one page is larger.
const MOST: usize = 8 << 20;

/// Where a page lies.
#[derive(Debug)]
pub(crate) enum Frame {
    Host(Page),
    Device(DevicePage),
}

impl Frame {
    /// # Panics
    /// When it is on a device: a model computes in one place.
    pub(super) fn host(&self) -> &Page {
        match self {
            Self::Host(page) => page,
            Self::Device(_) => unreachable!("a model on the CPU has its pages there"),
        }
    }

    /// As [`Self::host`].
    pub(super) fn host_mut(&mut self) -> &mut Page {
        match self {
            Self::Host(page) => page,
            Self::Device(_) => unreachable!("a model on the CPU has its pages there"),
        }
    }
}

/// A page and the memory it stands for.
#[derive(Debug)]
pub(crate) struct LeasedPage {
    pub(super) page: Frame,
    /// Something may have been written to it.
    used: bool,
    /// The lease of the page and its neighbours in memory, given back with the last of them.
    slab: Arc<Lease>,
}

/// Gives pages out and takes them back. Pages that come back stay for the next sequence, so that a step of a busy engine
/// allocates nothing.
#[derive(Debug)]
pub(super) struct PagePool {
    shape: PageShape,
    budget: Arc<Budget>,
    /// Pages that are allocated together, side by side on huge pages.
    together: usize,
    memory: Memory,
    /// Nobody else holds these.
    free: Mutex<Vec<Arc<LeasedPage>>>,
}

/// What pages are made of.
#[derive(Debug)]
enum Memory {
    Host(Reserve),
    Device(Arc<Numbers>),
}

impl PagePool {
    /// Pages of the host's memory, or of a device's that has given its numbers.
    pub(super) fn new(shape: PageShape, budget: Arc<Budget>, numbers: Option<Arc<Numbers>>) -> Self {
        let together = if numbers.is_some() { 1 } else { together(shape, budget.limit()) };
        let memory = numbers.map_or_else(|| Memory::Host(Reserve::new(shape, together)), Memory::Device);
        Self { shape, budget, together, memory, free: Mutex::default() }
    }

    pub(super) fn shape(&self) -> PageShape {
        self.shape
    }

    /// Bytes that are leased for `pages`.
    pub(super) fn bytes(&self, pages: usize) -> u64 {
        pages.div_ceil(self.together) as u64 * self.slab_bytes()
    }

    /// A cleared page; `None` when the budget has no room.
    pub(super) fn take(&self) -> Option<Arc<LeasedPage>> {
        let mut free = self.free();
        if free.is_empty() {
            let slab = Arc::new(self.budget.lease(Purpose::Kv, self.slab_bytes())?);
            let leased = |page| Arc::new(LeasedPage { page, used: false, slab: slab.clone() });
            match &self.memory {
                Memory::Host(reserve) => free.extend(reserve.take().into_iter().map(|page| leased(Frame::Host(page)))),
                Memory::Device(numbers) => free.extend(numbers.take().map(|page| leased(Frame::Device(page)))),
            }
        }
        let mut page = free.pop()?;
        drop(free);
        let own = Arc::get_mut(&mut page).expect("a free page has one holder");
        if std::mem::replace(&mut own.used, true)
            && let Frame::Host(page) = &mut own.page
        {
            page.clear();
        }
        Some(page)
    }

    /// Takes a page back, for others if this was its last holder.
    pub(super) fn give(&self, mut page: Arc<LeasedPage>) {
        if Arc::get_mut(&mut page).is_some() {
            self.free().push(page);
        }
    }

    /// Frees what was allocated together and is wholly unused.
    pub(super) fn drain(&self) {
        let mut free = self.free();
        free.sort_unstable_by_key(|page| Arc::as_ptr(&page.slab).addr());
        let unused = |pages: &&[Arc<LeasedPage>]| Arc::strong_count(&pages[0].slab) == pages.len();
        let neighbours = free.chunk_by(|a, b| Arc::ptr_eq(&a.slab, &b.slab));
        let kept = neighbours.filter(|pages| !unused(pages)).flatten().cloned().collect();
        *free = kept;
    }

    /// Pages that could be taken without anybody giving one up.
    pub(super) fn available(&self) -> usize {
        let slabs = self.budget.limit().saturating_sub(self.budget.used()) / self.slab_bytes();
        let new = usize::try_from(slabs).unwrap_or(usize::MAX).saturating_mul(self.together);
        self.free().len().saturating_add(new)
    }

    fn slab_bytes(&self) -> u64 {
        self.shape.bytes_together(self.together) as u64
    }

    fn free(&self) -> MutexGuard<'_, Vec<Arc<LeasedPage>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many pages to allocate together: the fewest that waste at most a sixteenth of the huge pages they lie on. One where
/// pages are small, or where a slab would be more than a sixteenth of the budget.
fn together(shape: PageShape, budget: u64) -> usize {
    let bytes = shape.bytes();
    let most = MOST.min(usize::try_from(budget / 16).unwrap_or(usize::MAX)) / bytes;
    if bytes < LARGE {
        return 1;
    }
    let thrifty = |count: &usize| {
        let all = shape.bytes_together(*count);
        all >= HUGE && (all - count * bytes) * 16 <= all
    };
    (1..=most).find(thrifty).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use tureen_kernels::{PageShape, Precision};

    use super::together;

    #[test]
    fn slabs_fill_huge_pages_and_leave_small_budgets_alone() {
        // SmolLM2-135M: 360 KiB a page.
        let bf16 = PageShape::new(30, 3, 64, Precision::Bf16);
        assert_eq!((bf16.bytes(), together(bf16, 2 << 30)), (360 << 10, 11));
        assert_eq!(together(bf16, 4 << 20), 1);
        assert_eq!(together(PageShape::new(2, 2, 16, Precision::F32), 2 << 30), 1);
        // Two megabytes a page.
        assert_eq!(together(PageShape::new(32, 8, 128, Precision::Bf16), 2 << 30), 1);
    }
}
