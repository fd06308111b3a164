// Huge pages. Packed weights and large intermediate tensors are streamed, and pages of 4 KiB cost a page-table walk every
// 4 KiB.
#pragma once

#include <cstddef>

namespace loopwright {

constexpr size_t kHugePageBytes = size_t{2} << 20;

// Advises the system to back memory with huge pages when it is first touched. Has no effect if the system declines.
void advise_huge_pages(void* data, size_t bytes);

// Moves a huge page of memory that is in use to a huge page. Has no effect if the system cannot (before Linux 6.1).
// `page` must be a multiple of kHugePageBytes.
void collapse_huge_page(void* page);

}  // namespace loopwright
