#include "loopwright/float_mode.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#elif !defined(__aarch64__)
#error "define the control register of floating-point arithmetic for this CPU"
#endif

namespace loopwright {
namespace {

#if defined(__x86_64__)

// MXCSR: results (FTZ, bit 15) and operands (DAZ, bit 6). Bits 0 to 5 are sticky flags, which belong to the thread.
constexpr uint64_t kFlush = uint64_t{1} << 15 | uint64_t{1} << 6;
constexpr uint64_t kFlags = 0x3f;

uint64_t read() { return _mm_getcsr() & ~kFlags; }
void write(uint64_t control) { _mm_setcsr(static_cast<unsigned>(control | (_mm_getcsr() & kFlags))); }

#else

constexpr uint64_t kFlush = uint64_t{1} << 24;  // FPCR.FZ: results and operands

uint64_t read() {
  uint64_t control = 0;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  return control;
}
void write(uint64_t control) { asm volatile("msr fpcr, %0" : : "r"(control)); }

#endif

}  // namespace

FloatMode FloatMode::current() { return FloatMode(read()); }

FloatMode FloatMode::with_subnormals(bool kept) const {
  return FloatMode(kept ? control_ & ~kFlush : control_ | kFlush);
}

bool FloatMode::keeps_subnormals() const { return (control_ & kFlush) == 0; }

void FloatMode::enter() const {
  if (read() != control_) write(control_);
}

}  // namespace loopwright
