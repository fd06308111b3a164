// The products of Winograd's algorithms: for every place ξ, M[ξ] = V[ξ] · U[ξ].
#pragma once

#include <algorithm>
#include <cstdint>

#include "convolution.h"

namespace loopwright {

// Rows of V and M for a block of tiles. Strides are in words.
struct WinogradBlock {
  const float* v;
  int64_t v_row, v_place;  // from tile to tile, and from place to place
  float* m;
  int64_t m_place;  // rows of M have nr words
  int64_t tiles, places, channels;
};

// Multiplies one panel. U of the panel is packed as [ξ][channel][nr] at `weight`; `next` is what the thread reads next, or null.
inline void multiply_places(const KernelTable& kernels, const Conv2dSchedule& s, const WinogradBlock& block,
                            const Panel& panel, const float* weight, const float* next) {
  const EvenSplit split(block.tiles, s.mr);
  const int64_t place_floats = block.channels * panel.nr;
  const float *a, *b;
  BrgemmArgs args{};
  args.a = &a;
  args.b = &b;
  args.batch = 1;
  args.k = block.channels;
  args.a_stride = block.v_row;
  args.c_stride = panel.nr;
  args.n = panel.nr;
  args.prefetch = s.prefetch / static_cast<int64_t>(sizeof(float));
  args.next_step = even_step(place_floats, split.count * block.channels);
  args.next_tile_step = block.channels * args.next_step;
  for (int64_t place = 0; place < block.places; ++place) {
    b = weight + place * place_floats;
    // The tiles share the weights of one place, and prefetch those of the next place into L2.
    const float* after = place + 1 < block.places ? b + place_floats : next;
    const int64_t next_floats = s.prefetch_next && after ? place_floats : 0;
    for (int64_t i = 0, tile = 0; i < split.count; i += args.count) {
      const int64_t rows = split.size(i), before = i * args.next_tile_step;
      a = block.v + place * block.v_place + tile * block.v_row;
      args.c = block.m + place * block.m_place + tile * panel.nr;
      args.next = before < next_floats ? after + before : nullptr;
      args.count = args.prefetch != 0 ? 1 : split.alike(i);
      if (args.next) args.count = std::min(args.count, ceil_div(next_floats - before, args.next_tile_step));
      args.a_step = rows * args.a_stride;
      args.c_step = rows * args.c_stride;
      kernels.tiles[rows][panel.vectors](args);
      tile += rows * args.count;
    }
  }
}

}  // namespace loopwright
