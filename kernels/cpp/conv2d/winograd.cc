// 3×3 convolution by Winograd's minimal filtering (include/loopwright/winograd.h has the mathematics).
//
//   for blocks of tiles:   V[ξ] = (Bᵀ d B)[ξ]                  tiles × c, every ξ of (m+2)²
//     for panels:          M[ξ] = V[ξ] · U[ξ]                  tiles × nr, one GEMM each ξ
//                          y = Aᵀ M A + bias + residual → activation
//
// The weights U[ξ] = (G g Gᵀ)[ξ] are made once, in float64, and packed as [panel][ξ][c][nr]: a panel's are read in one
// stream. V stays in L2 while the panels pass; M of one panel is written and read while it is near. Where the image
// ends within a tile, the tile is copied between zeros first.
//
// Tile contract: include/loopwright/brgemm.h; A = V[ξ], mr tiles; B = U[ξ]; C = M[ξ], nr wide.
#include <algorithm>
#include <array>
#include <cstring>

#include "convolution.h"
#include "loopwright/split.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

// G (m+2 × 3): row i has the powers of point i over the product of its distances from the others; infinity's is 0 0 1.
template <size_t N>
std::vector<std::array<double, 3>> filter_matrix(const double (&points)[N]) {
  std::vector<std::array<double, 3>> rows;
  for (size_t i = 0; i < N; ++i) {
    double distance = 1.0;
    for (size_t j = 0; j < N; ++j)
      if (j != i) distance *= points[i] - points[j];
    rows.push_back({1 / distance, points[i] / distance, points[i] * points[i] / distance});
  }
  rows.push_back({0, 0, 1});
  return rows;
}

class WinogradConvolution final : public Convolution {
 public:
  WinogradConvolution(const ConvolutionLayer& layer, int output_size, int packed_nr)
      : Convolution(output_size == 2 ? Conv2dSchedule::Algorithm::kWinograd2 : Conv2dSchedule::Algorithm::kWinograd4,
                    packed_nr),
        layer_(layer),
        kernels_(f32_kernels(layer.isa)),
        transforms_(output_size == 2 ? kernels_.winograd2 : kernels_.winograd4),
        m_(output_size),
        panels_(split_panels(layer.geometry.o, layer.geometry.c * places(), nr, kernels_.lanes)) {
    pack();
  }

  void run(const Conv2dSchedule& s, const float* x, const Images& images, float* out,
           const float* residual) const override;

 private:
  struct Call;
  int64_t size() const { return m_ + 2; }
  int64_t places() const { return size() * size(); }
  void pack();
  void transform_input(const Call& call, int64_t tile_begin, int64_t tile_end, float* v, float* patch) const;
  void multiply(const Call& call, int64_t tiles, const Panel& panel, const float* next_panel, const float* v,
                float* m) const;
  void transform_output(const Call& call, int64_t tile_begin, int64_t tile_end, const Panel& panel,
                        const float* m) const;

  ConvolutionLayer layer_;
  const F32Kernels& kernels_;
  WinogradFunctions transforms_;
  int64_t m_;
  std::vector<Panel> panels_;
  Buffer weight_;
};

void WinogradConvolution::pack() {
  const Conv2dGeometry& g = layer_.geometry;
  const auto matrix = m_ == 2 ? filter_matrix(kWinogradPoints2) : filter_matrix(kWinogradPoints4);
  weight_ = make_buffer(packed_floats(g.o, g.c * places(), kernels_.lanes));
  const auto count = static_cast<int64_t>(panels_.size());
  parallel(layer_.threads, [&](int thread) {
    const int64_t last = split_begin(count, layer_.threads, thread + 1);
    for (int64_t i = split_begin(count, layer_.threads, thread); i < last; ++i) {
      const Panel& panel = panels_[i];
      for (int64_t j = 0; j < panel.n; ++j)
        for (int64_t c = 0; c < g.c; ++c) {
          const float* from = layer_.weight + (panel.column + j) * 9 * g.c + c;  // (o, kh, kw, c)
          double left[6][3];                                                     // G g
          for (int64_t u = 0; u < size(); ++u)
            for (int64_t w = 0; w < 3; ++w) {
              left[u][w] = 0;
              for (int64_t r = 0; r < 3; ++r) left[u][w] += matrix[u][r] * from[(r * 3 + w) * g.c];
            }
          float* to = weight_.get() + panel.offset + c * panel.nr + j;
          for (int64_t u = 0; u < size(); ++u)
            for (int64_t w = 0; w < size(); ++w, to += g.c * panel.nr)
              *to =
                  static_cast<float>(left[u][0] * matrix[w][0] + left[u][1] * matrix[w][1] + left[u][2] * matrix[w][2]);
        }
    }
  });
}

// One call's sizes, for all threads.
struct WinogradConvolution::Call {
  const Conv2dSchedule& s;
  const float* x;
  Images images;
  float* out;
  const float* residual;
  int64_t oh, ow;
  int64_t tiles_h, tiles_w;
  int64_t v_row, v_place, m_place;  // floats from tile to tile and from place to place

  struct Tile {
    int64_t image, y, x;  // of its first output
  };
  Tile tile(int64_t index, int64_t m) const {
    const int64_t image = index / (tiles_h * tiles_w), rest = index % (tiles_h * tiles_w);
    return {image, rest / tiles_w * m, rest % tiles_w * m};
  }
};

void WinogradConvolution::run(const Conv2dSchedule& s, const float* x, const Images& images, float* out,
                              const float* residual) const {
  const Conv2dGeometry& g = layer_.geometry;
  const int64_t oh = g.output_h(images.h), ow = g.output_w(images.w);
  const int64_t tiles_h = ceil_div(oh, m_), tiles_w = ceil_div(ow, m_), tiles = images.n * tiles_h * tiles_w;
  const int64_t block = std::min(s.rows, tiles);
  // Places lie a cache line apart from any power of two: a tile writes to all of them.
  const int64_t v_row = ceil_div(g.c, kCacheLine) * kCacheLine;
  const Call call{s,
                  x,
                  images,
                  out,
                  residual,
                  oh,
                  ow,
                  tiles_h,
                  tiles_w,
                  v_row,
                  block * v_row + kCacheLine,
                  block * nr + kCacheLine};

  const int64_t v_floats = places() * call.v_place, m_floats = places() * call.m_place, patch_floats = places() * g.c;
  const int64_t thread_floats = ceil_div(v_floats + m_floats + patch_floats, kCacheLine) * kCacheLine;
  float* buffers = scratch(thread_floats * layer_.threads);  // here, because the pool's threads must not throw
  const int64_t across_m = s.threads_m, across_n = layer_.threads / s.threads_m;
  const auto panels = static_cast<int64_t>(panels_.size());

  parallel(layer_.threads, [&](int thread) {
    const int64_t i = thread / across_n, j = thread % across_n;
    const int64_t tile_begin = split_begin(tiles, across_m, i), tile_end = split_begin(tiles, across_m, i + 1);
    const int64_t panel_begin = split_begin(panels, across_n, j), panel_end = split_begin(panels, across_n, j + 1);
    if (tile_begin == tile_end || panel_begin == panel_end) return;
    float* v = buffers + thread * thread_floats;
    float* m = v + v_floats;
    const EvenSplit blocks(tile_end - tile_begin, block);
    int64_t tile = tile_begin;
    for (int64_t b = 0; b < blocks.count; ++b) {
      const int64_t end = tile + blocks.size(b);
      transform_input(call, tile, end, v, m + m_floats);
      for (int64_t p = panel_begin; p < panel_end; ++p) {
        const bool last = p + 1 == panel_end && b + 1 == blocks.count;
        const Panel& next = panels_[p + 1 < panel_end ? p + 1 : panel_begin];
        multiply(call, end - tile, panels_[p], last ? nullptr : weight_.get() + next.offset, v, m);
        transform_output(call, tile, end, panels_[p], m);
      }
      tile = end;
    }
  });
}

void WinogradConvolution::transform_input(const Call& call, int64_t tile_begin, int64_t tile_end, float* v,
                                          float* patch) const {
  const Conv2dGeometry& g = layer_.geometry;
  const Images& in = call.images;
  for (int64_t index = tile_begin; index < tile_end; ++index, v += call.v_row) {
    const Call::Tile tile = call.tile(index, m_);
    const int64_t top = tile.y - g.pad_top, left = tile.x - g.pad_left;
    const float* image = call.x + tile.image * in.h * in.w * g.c;
    WinogradInput args{image + (top * in.w + left) * g.c, in.w * g.c, g.c, g.c, v, call.v_place};
    if (top < 0 || left < 0 || top + size() > in.h || left + size() > in.w) {
      const int64_t first = std::max<int64_t>(0, -left), last = std::min(size(), in.w - left);
      std::memset(patch, 0, static_cast<size_t>(places() * g.c) * sizeof(float));
      for (int64_t i = std::max<int64_t>(0, -top); i < std::min(size(), in.h - top) && first < last; ++i)
        std::memcpy(patch + (i * size() + first) * g.c, image + ((top + i) * in.w + left + first) * g.c,
                    static_cast<size_t>((last - first) * g.c) * sizeof(float));
      args.d = patch;
      args.row_stride = size() * g.c;
    }
    transforms_.input(args);
  }
}

void WinogradConvolution::multiply(const Call& call, int64_t tiles, const Panel& panel, const float* next_panel,
                                   const float* v, float* m) const {
  const Conv2dGeometry& g = layer_.geometry;
  const EvenSplit split(tiles, call.s.mr);
  const int64_t place_floats = g.c * panel.nr;
  const float *a, *b;
  BrgemmArgs args{};
  args.a = &a;
  args.b = &b;
  args.batch = 1;
  args.k = g.c;
  args.a_stride = call.v_row;
  args.c_stride = panel.nr;
  args.n = panel.nr;
  args.lo = -Epilogue::kInfinity;
  args.hi = Epilogue::kInfinity;
  args.prefetch = call.s.prefetch / static_cast<int64_t>(sizeof(float));
  for (int64_t place = 0; place < places(); ++place) {
    b = weight_.get() + panel.offset + place * place_floats;
    // While the tiles share one place's weights, they bring the next one's to L2: a cache line a step of the sum, so
    // that as many tiles as the panel has lines a row see to all of them.
    const float* next = place + 1 < places() ? b + place_floats : next_panel;
    const int64_t next_lines = call.s.prefetch_next && next ? panel.nr / kCacheLine : 0;
    for (int64_t i = 0, tile = 0; i < split.count; tile += split.size(i++)) {
      a = v + place * call.v_place + tile * call.v_row;
      args.c = m + place * call.m_place + tile * panel.nr;
      args.next = i < next_lines ? next + i * g.c * kCacheLine : nullptr;
      kernels_.tiles[split.size(i)][panel.vectors](args);
    }
  }
}

void WinogradConvolution::transform_output(const Call& call, int64_t tile_begin, int64_t tile_end, const Panel& panel,
                                           const float* m) const {
  const Conv2dGeometry& g = layer_.geometry;
  const Epilogue epilogue(layer_.activation, kernels_);
  WinogradOutput args{};
  args.place_stride = call.m_place;
  args.row_stride = call.ow * g.o;
  args.pixel_stride = g.o;
  args.n = panel.n;
  args.bias = layer_.bias ? layer_.bias + panel.column : nullptr;
  args.lo = epilogue.lo;
  args.hi = epilogue.hi;
  for (int64_t index = tile_begin; index < tile_end; ++index, m += panel.nr) {
    const Call::Tile tile = call.tile(index, m_);
    const int64_t at = ((tile.image * call.oh + tile.y) * call.ow + tile.x) * g.o + panel.column;
    args.m = m;
    args.y = call.out + at;
    args.residual = call.residual ? call.residual + at : nullptr;
    args.rows = static_cast<int>(std::min(m_, call.oh - tile.y));
    args.columns = static_cast<int>(std::min(m_, call.ow - tile.x));
    transforms_.output(args);
    if (!epilogue.activate) continue;
    for (int64_t i = 0; i < args.rows; ++i)
      epilogue.activate(args.y + i * args.row_stride, args.pixel_stride, args.columns, args.n);
  }
}

}  // namespace

std::unique_ptr<const Convolution> make_winograd_convolution(const ConvolutionLayer& layer, int m, int nr) {
  return std::make_unique<WinogradConvolution>(layer, m, nr);
}

}  // namespace loopwright
