// TVM's virtual machines of one executable, which all programs that run it share, whatever their layers and sizes.
#pragma once

#include <tvm/ffi/any.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "replay.h"

namespace loopwright {

// Moves the intermediate tensors of a virtual machine to huge pages. The machine allocates them on the heap, on pages of
// 4 KiB, and reuses the memory in later runs.
class HugePages {
 public:
  // Notes the pages of the tensors of a call of the instrument: (function, name, true before and false after the call,
  // result, arguments...).
  void note(const tvm::ffi::PackedArgs& args);
  // Moves pages that were noted, for about a millisecond: a page takes up to ten if memory is fragmented, and the first run
  // should not wait for all. Further calls move the others. Other data on these pages moves too. If the system cannot
  // collapse a page, the page stays unchanged.
  void collapse();

 private:
  std::set<uintptr_t> noted_, moved_;  // page numbers
};

// A virtual machine. It runs once at a time.
struct VirtualMachine {
  tvm::ffi::Module module;
  tvm::ffi::Function main;
  HugePages pages;
  // Serial numbers of the programs that have run. The first run of a program may use more memory than those of others.
  std::set<int64_t> programs = {};
  // The calls of the program that ran last for the first time, without the machine: one for each path through its branches
  // that has run. None if they cannot be replayed.
  std::vector<std::unique_ptr<Replay>> replays = {};
};

// Thread-safe.
class VirtualMachines {
 public:
  explicit VirtualMachines(tvm::ffi::Module executable) : executable_(std::move(executable)) {}

  // Returns a new machine.
  VirtualMachine make() const;
  // Returns an idle machine, or a new one.
  VirtualMachine take();
  // Makes a machine idle again. A machine that failed must be dropped instead, because it may be in the middle of a run.
  void give_back(VirtualMachine machine);

 private:
  tvm::ffi::Module executable_;
  std::mutex mutex_;
  std::vector<VirtualMachine> idle_;
};

}  // namespace loopwright
