#include "loopwright/huge_pages.h"

#include <sys/mman.h>

namespace loopwright {

void advise_huge_pages(void* data, size_t bytes) { madvise(data, bytes, MADV_HUGEPAGE); }

void collapse_huge_page(void* page) {
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, which older headers do not define
  madvise(page, kHugePageBytes, kCollapse);
}

}  // namespace loopwright
