// Convolution by Winograd's minimal filtering (microkernels/winograd.h has the mathematics).
//
//   for blocks of tiles:   V[ξ] = (Bᵀ d B)[ξ]                  tiles × c, for every place ξ of t²
//     for panels:          M[ξ] = V[ξ] · U[ξ]                  tiles × nr, one GEMM per ξ
//                          y = Aᵀ M A + bias + residual → activation
//
// The weights U[ξ] = (G g Gᵀ)[ξ] are computed once, in float64, and packed as [panel][ξ][c][nr], so the weights of a panel
// are one stream. V stays in L2 while the panels pass. M of one panel is stored and loaded while it is near. A tile that
// extends beyond the image is copied with zeros first. Threads that split the panels share V.
//
// With a stride s, image and kernel split into s×s phases (every s-th row and column). The convolution becomes one of
// stride 1 over s² c channels with r = ceil(k / s) taps per side. A 7×7 first layer of stride 2 with 3 channels becomes 4×4
// taps over 12 channels, which F(3×3, 4×4) computes with 48 multiplications per output and channel instead of 147. In NHWC
// the s columns of a phase's pixel are contiguous, s * c floats, and are read in place.
//
// With a dilation d, every d-th row and column of the outputs is a convolution without dilation over every d-th row and
// column of the image. A tile has outputs of one of these d×d parts, and its pixels are d apart.
//
// bfloat16: both transforms are of float32. V and U are rounded to bfloat16 and multiplied as words of two channels.
//
// Tile contract: microkernels/brgemm.h. A = V[ξ], mr tiles. B = U[ξ]. C = M[ξ], nr columns.
#include <algorithm>
#include <array>
#include <cstring>

#include "conv2d/winograd_products.h"
#include "convolution.h"
#include "core/shares.h"
#include "core/split.h"
#include "loopwright/machine.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

constexpr int kMaxSize = 6, kMaxTaps = 4;

// One F(m×m, r×r).
struct Filtering {
  int m, r;
  WinogradFunctions transforms;
  const double* points;  // the size() - 1 finite points

  int size() const { return m + r - 1; }
  int places() const { return size() * size(); }
};

Filtering filtering(Conv2dSchedule::Algorithm algorithm, const KernelTable& kernels) {
  switch (algorithm) {
    case Conv2dSchedule::Algorithm::kWinograd2: return {2, 3, kernels.winograd2, kWinogradPoints4};
    case Conv2dSchedule::Algorithm::kWinograd3: return {3, 4, kernels.winograd3, kWinogradPoints6};
    default: return {4, 3, kernels.winograd4, kWinogradPoints6};
  }
}

// G (t × r): row i has the powers of point i divided by the product of its distances from the other points. The row of
// infinity is 0 ... 0 1.
using FilterMatrix = std::array<std::array<double, kMaxTaps>, kMaxSize>;

FilterMatrix filter_matrix(const Filtering& f) {
  FilterMatrix rows{};
  const int points = f.size() - 1;
  for (int i = 0; i < points; ++i) {
    double value = 1.0;
    for (int j = 0; j < points; ++j)
      if (j != i) value /= f.points[i] - f.points[j];
    for (int power = 0; power < f.r; ++power, value *= f.points[i]) rows[i][power] = value;
  }
  rows[points][f.r - 1] = 1;
  return rows;
}

// Returns where the tiles of `size` outputs along an axis begin: those of every `dilation`-th output, m per tile.
std::vector<int64_t> tile_begins(int64_t size, int64_t dilation, int64_t m) {
  std::vector<int64_t> begins;
  begins.reserve(static_cast<size_t>(winograd_tiles(size, dilation, m)));
  for (int64_t first = 0; first < std::min(dilation, size); ++first)
    for (int64_t at = first; at < size; at += m * dilation) begins.push_back(at);
  return begins;
}

// The channels of all phases together.
int64_t phase_channels(const Conv2dGeometry& g) { return g.stride_h * g.stride_h * g.c; }

// Returns channel `c` of row `row` of a weight of words.
float weight_at(const float* weight, Dtype dtype, int64_t row, int64_t channels, int64_t c) {
  if (dtype == Dtype::kFloat32) return weight[row * channels + c];
  const uint32_t bits = reinterpret_cast<const uint16_t*>(weight)[row * channels + c];  // whole words
  const uint32_t whole = bits << 16;
  float value;
  std::memcpy(&value, &whole, sizeof(value));
  return value;
}

class WinogradConvolution final : public Convolution {
 public:
  WinogradConvolution(const ConvolutionLayer& layer, SharedPackedConvolution shared)
      : Convolution(std::move(shared)),
        layer_(layer),
        kernels_(kernel_table(layer.target, layer.dtype)),
        f_(filtering(packed().algorithm, kernels_)),
        stride_(layer.geometry.stride_h),
        dilation_h_(layer.geometry.dilation_h),
        dilation_w_(layer.geometry.dilation_w),
        channels_(phase_channels(layer.geometry)),
        words_(to_words(channels_, kernels_.tile_k)),
        panels_(packed().panels),
        weight_(packed().weight.get()) {}

  void run(const Conv2dSchedule& s, const Matrix& x, const Images& images, const Matrix& out,
           const Matrix& residual) const override;

 private:
  struct Call;
  // Rows and columns of the image that a tile reads. With dilation they are apart.
  int64_t window() const { return stride_ * f_.size(); }
  bool rounds() const { return layer_.dtype == Dtype::kBfloat16; }
  // Floats for the pixels under a tile and, before they are rounded, their transform or the outputs of a tile.
  int64_t patch_floats() const { return window() * window() * layer_.geometry.c; }
  int64_t unrounded_floats() const {
    return rounds() ? std::max(f_.places() * whole_lines(channels_), f_.m * f_.m * int64_t{packed().nr}) : 0;
  }
  void transform_input(const Call& call, const Range& tiles, float* v, float* patch) const;
  // Copies the pixels under a tile, whose first one is (top, left), to the patch, with zeros for those outside the image.
  void copy_window(const Matrix& image, const Images& in, int64_t top, int64_t left, float* patch) const;
  // Computes the outputs of a panel from V. `after` is the panel that the thread computes next, or null.
  void compute_panel(const Call& call, const Range& tiles, const Panel& panel, const Panel* after, const float* v,
                     float* m, float* unrounded) const;
  void transform_output(const Call& call, const Range& tiles, const Panel& panel, const float* m,
                        float* unrounded) const;

  // Stores the residual of `columns` outputs from `pixel` on as floats. It may be what `to` overwrites.
  void copy_residual(const Matrix& residual, int64_t pixel, const Panel& panel, int columns, float* to,
                     int64_t to_stride) const;

  ConvolutionLayer layer_;
  const KernelTable& kernels_;
  Filtering f_;
  int64_t stride_, dilation_h_, dilation_w_, channels_, words_;  // channels: phase_channels(); words: of them
  const std::vector<Panel>& panels_;
  const float* weight_;
};

// The arguments and sizes of a call, for all threads.
struct WinogradConvolution::Call {
  const Conv2dSchedule& s;
  Matrix x;  // pixels, as the other two
  Images images;
  Matrix out, residual;
  int64_t oh, ow;
  std::vector<int64_t> tiles_y, tiles_x;  // first output rows and columns of the tiles of an image
  int64_t v_row, v_place, m_place;        // words from tile to tile of V, and from place to place of V and M

  struct Tile {
    int64_t image, y, x;  // of its first output
  };
  int64_t tiles() const { return images.n * static_cast<int64_t>(tiles_y.size() * tiles_x.size()); }
  Tile tile(int64_t index) const {
    const auto columns = static_cast<int64_t>(tiles_x.size()),
               of_image = static_cast<int64_t>(tiles_y.size()) * columns;
    const int64_t rest = index % of_image;
    return {index / of_image, tiles_y[rest / columns], tiles_x[rest % columns]};
  }
};

void WinogradConvolution::run(const Conv2dSchedule& s, const Matrix& x, const Images& images, const Matrix& out,
                              const Matrix& residual) const {
  const Conv2dGeometry& g = layer_.geometry;
  const int64_t oh = g.output_h(images.h), ow = g.output_w(images.w);
  Call call{s, x, images, out, residual, oh, ow, {}, {}, 0, 0, 0};
  call.tiles_y = tile_begins(oh, dilation_h_, f_.m);
  call.tiles_x = tile_begins(ow, dilation_w_, f_.m);
  const int64_t tiles = call.tiles(), block = std::min(s.rows, tiles);
  // A tile stores to all places, so their stride spreads them over the sets of the cache. A phase may store zeros after its
  // channels, up to kWinogradPadding: the next phase overwrites them, and those of the last phase are inside v_row.
  const int64_t v_row = whole_lines(words_);
  call.v_row = v_row;
  call.v_place = spread_stride(block * v_row);
  call.m_place = spread_stride(block * packed().nr);

  const int64_t v_floats = f_.places() * call.v_place, m_floats = f_.places() * call.m_place;
  const int64_t own_floats = whole_lines(m_floats + patch_floats() + unrounded_floats());
  const int64_t across_m = s.threads.m, across_n = s.threads.n;
  const int64_t blocks = ceil_div(ceil_div(tiles, across_m), block);
  const auto panels = static_cast<int64_t>(panels_.size());
  // A V for each thread that transforms tiles alone, or for each group of threads that share them. Allocated here, because the
  // threads of the pool must not throw.
  float* const buffers = scratch(v_floats * across_m + own_floats * s.threads.count());
  const auto v_of = [&](int64_t i) { return buffers + i * v_floats; };
  const auto m_of = [&](int slot) { return buffers + across_m * v_floats + slot * own_floats; };
  const auto patch_of = [&](int slot) { return m_of(slot) + m_floats; };
  const auto tiles_of = [&](int64_t i, int64_t b) { return Range{0, tiles}.part(across_m, i).part(blocks, b); };

  if (across_n == 1) {  // a chunk is a block of tiles
    parallel_shares(s.threads, blocks, [&](int slot, const Share& share) {
      const Range here = tiles_of(share.i, share.piece);
      if (here.size() == 0) return;
      transform_input(call, here, v_of(slot), patch_of(slot));
      const Panel* after = share.piece + 1 < blocks ? &panels_.front() : nullptr;
      for (int64_t p = 0; p < panels; ++p)
        compute_panel(call, here, panels_[p], p + 1 < panels ? &panels_[p + 1] : after, v_of(slot), m_of(slot),
                      patch_of(slot) + patch_floats());
    });
    return;
  }
  // Threads that split the panels transform the tiles of a block together, a few per chunk. Then a chunk is a panel.
  constexpr int64_t kChunksPerThread = 4;
  const int64_t pieces = std::min(block, kChunksPerThread * across_n), per_share = ceil_div(panels, across_n);
  for (int64_t b = 0; b < blocks; ++b) {
    parallel_chunks(s.threads.count(), across_m * pieces, [&](int slot, int64_t chunk) {
      const int64_t i = chunk / pieces;
      const Range of_block = tiles_of(i, b), here = of_block.part(pieces, chunk % pieces);
      transform_input(call, here, v_of(i) + (here.begin - of_block.begin) * v_row, patch_of(slot));
    });
    parallel_shares(s.threads, per_share, [&](int slot, const Share& share) {
      const Range here = tiles_of(share.i, b), own = Range{0, panels}.part(across_n, share.j);
      const Range panel = own.part(per_share, share.piece);
      if (here.size() == 0 || panel.size() == 0) return;
      const Panel* after = panel.end < own.end ? &panels_[panel.end] : b + 1 < blocks ? &panels_[own.begin] : nullptr;
      compute_panel(call, here, panels_[panel.begin], after, v_of(share.i), m_of(slot),
                    patch_of(slot) + patch_floats());
    });
  }
}

void WinogradConvolution::compute_panel(const Call& call, const Range& tiles, const Panel& panel, const Panel* after,
                                        const float* v, float* m, float* unrounded) const {
  const WinogradBlock block{v, call.v_row, call.v_place, m, call.m_place, tiles.size(), f_.places(), words_};
  multiply_places(kernels_, call.s, block, panel, weight_ + panel.offset, after ? weight_ + after->offset : nullptr);
  transform_output(call, tiles, panel, m, unrounded);
}

void WinogradConvolution::transform_input(const Call& call, const Range& tiles, float* v, float* patch) const {
  const Conv2dGeometry& g = layer_.geometry;
  const Images& in = call.images;
  const bool is_float = call.x.dtype == Dtype::kFloat32;
  // Pixels of bfloat16 are copied, so none are prefetched.
  const auto window_of = [&](const Call::Tile& tile) {
    const int64_t row = tile.image * in.h + tile.y * stride_ - g.pad_top;
    return is_float ? call.x.at<float>(row * in.w + tile.x * stride_ - g.pad_left, 0) : patch;
  };
  const int64_t span_h = (window() - 1) * dilation_h_ + 1, span_w = (window() - 1) * dilation_w_ + 1;
  const int64_t image_row = dilation_h_ * in.w * g.c,
                image_pixel = dilation_w_ * g.c;  // strides of a window, in floats
  float* const unrounded = patch + patch_floats();
  Call::Tile tile = call.tile(tiles.begin), after;
  for (int64_t index = tiles.begin; index < tiles.end; ++index, v += call.v_row, tile = after) {
    after = call.tile(std::min(index + 1, tiles.end - 1));
    const int64_t top = tile.y * stride_ - g.pad_top, left = tile.x * stride_ - g.pad_left;
    const float *rows = window_of(tile), *next = window_of(after);
    int64_t row_floats = image_row, pixel_floats = image_pixel;
    if (!is_float || top < 0 || left < 0 || top + span_h > in.h || left + span_w > in.w) {
      const Matrix image{call.x.address(tile.image * in.h * in.w, 0), g.c, call.x.dtype};
      copy_window(image, in, top, left, patch);
      rows = patch;
      row_floats = window() * g.c;
      pixel_floats = g.c;
    }
    const int64_t phase_floats = stride_ * g.c;
    float* const to = rounds() ? unrounded : v;
    const int64_t place = rounds() ? whole_lines(channels_) : call.v_place;
    for (int64_t phase = 0; phase < stride_; ++phase)
      f_.transforms.input({rows + phase * row_floats, stride_ * row_floats, stride_ * pixel_floats, phase_floats,
                           to + phase * phase_floats, place, next + phase * image_row, stride_ * image_row,
                           stride_ * image_pixel});
    if (rounds())
      kernels_.narrow(to, place, reinterpret_cast<Bfloat16*>(v), call.v_place * kernels_.tile_k, f_.places(),
                      static_cast<int>(channels_));
  }
}

void WinogradConvolution::copy_window(const Matrix& image, const Images& in, int64_t top, int64_t left,
                                      float* patch) const {
  const int64_t c = layer_.geometry.c;
  std::memset(patch, 0, static_cast<size_t>(window() * window() * c) * sizeof(float));
  // Those of the window's `window()` rows or columns from `begin` that are inside `size`.
  const auto inside = [&](int64_t begin, int64_t dilation, int64_t size) {
    return Range{ceil_div(std::max<int64_t>(0, -begin), dilation),
                 std::clamp<int64_t>(ceil_div(size - begin, dilation), 0, window())};
  };
  const Range rows = inside(top, dilation_h_, in.h), columns = inside(left, dilation_w_, in.w);
  // Pixels without dilation are contiguous.
  const int64_t piece = dilation_w_ == 1 ? columns.size() : 1;
  for (int64_t i = rows.begin; i < rows.end; ++i)
    for (int64_t j = columns.begin; j < columns.end; j += piece) {
      const int64_t pixel = (top + i * dilation_h_) * in.w + left + j * dilation_w_;
      float* const to = patch + (i * window() + j) * c;
      if (image.dtype == Dtype::kBfloat16) {
        kernels_.widen(image.at<Bfloat16>(pixel, 0), 0, to, 0, 1, static_cast<int>(piece * c));
      } else {
        std::memcpy(to, image.at<float>(pixel, 0), static_cast<size_t>(piece * c) * sizeof(float));
      }
    }
}

void WinogradConvolution::copy_residual(const Matrix& residual, int64_t pixel, const Panel& panel, int columns,
                                        float* to, int64_t to_stride) const {
  for (int j = 0; j < columns; ++j, pixel += dilation_w_, to += to_stride)
    if (residual.dtype == Dtype::kBfloat16) {
      kernels_.widen(residual.at<Bfloat16>(pixel, panel.column), 0, to, 0, 1, panel.n);
    } else {
      std::memcpy(to, residual.at<float>(pixel, panel.column), static_cast<size_t>(panel.n) * sizeof(float));
    }
}

void WinogradConvolution::transform_output(const Call& call, const Range& tiles, const Panel& panel, const float* m,
                                           float* unrounded) const {
  const Conv2dGeometry& g = layer_.geometry;
  const bool in_place = call.out.dtype == Dtype::kFloat32;
  const Epilogue epilogue = Epilogue::of_slopes(layer_.activation, packed().constants.slopes.get(), kernels_);
  WinogradOutput args{};
  args.place_stride = call.m_place;
  const int64_t row_stride = dilation_h_ * call.ow * g.o, pixel_stride = dilation_w_ * g.o;  // of the output
  args.row_stride = in_place ? row_stride : f_.m * panel.n;
  args.pixel_stride = in_place ? pixel_stride : panel.n;
  args.n = panel.n;
  args.bias = packed().constants.bias ? packed().constants.bias.get() + panel.column : nullptr;
  args.lo = epilogue.lo;
  args.hi = epilogue.hi;
  args.slopes = epilogue.slopes_from(panel.column);
  const auto pixel_of = [&](const Call::Tile& tile) { return (tile.image * call.oh + tile.y) * call.ow + tile.x; };
  Call::Tile tile = call.tile(tiles.begin), after;
  for (int64_t index = tiles.begin; index < tiles.end; ++index, m += panel.nr, tile = after) {
    after = call.tile(std::min(index + 1, tiles.end - 1));
    const int64_t pixel = pixel_of(tile);
    args.m = m;
    args.y = in_place ? call.out.at<float>(pixel, panel.column) : unrounded;
    args.next = in_place ? call.out.at<float>(pixel_of(after), panel.column) : unrounded;
    args.residual = nullptr;
    args.rows = static_cast<int>(std::min<int64_t>(f_.m, ceil_div(call.oh - tile.y, dilation_h_)));
    args.columns = static_cast<int>(std::min<int64_t>(f_.m, ceil_div(call.ow - tile.x, dilation_w_)));
    if (call.residual.data && in_place && call.residual.dtype == Dtype::kFloat32) {
      args.residual = call.residual.at<float>(pixel, panel.column);
    } else if (call.residual.data) {
      args.residual = args.y;
      for (int64_t i = 0; i < args.rows; ++i) {
        const int64_t first = pixel + i * dilation_h_ * call.ow;
        copy_residual(call.residual, first, panel, args.columns, args.y + i * args.row_stride, args.pixel_stride);
      }
    }
    f_.transforms.output(args);
    for (int64_t i = 0; i < args.rows; ++i) {
      float* const row = args.y + i * args.row_stride;
      if (epilogue.activate) epilogue.activate(row, args.pixel_stride, args.columns, args.n, nullptr);
      if (!in_place)
        kernels_.narrow(row, args.pixel_stride, call.out.at<Bfloat16>(pixel + i * dilation_h_ * call.ow, panel.column),
                        pixel_stride, args.columns, args.n);
    }
  }
}

}  // namespace

PackedConvolution pack_winograd_convolution(const ConvolutionLayer& layer, const float* weight,
                                            Conv2dSchedule::Algorithm algorithm, int nr) {
  const Conv2dGeometry& g = layer.geometry;
  const KernelTable& kernels = kernel_table(layer.target, layer.dtype);
  const Filtering f = filtering(algorithm, kernels);
  const FilterMatrix matrix = filter_matrix(f);
  const bool rounds = layer.dtype == Dtype::kBfloat16;
  const int64_t stride = g.stride_h, channels = phase_channels(g);
  const int64_t words = to_words(channels, kernels.tile_k), k = words * f.places();
  const PanelRows rows{1, k, kernels.lanes};
  const int64_t floats = rows.packed_floats(g.o, nr);
  PackedConvolution packed{algorithm, nr, split_panels(g.o, rows, nr), floats, make_weight_buffer(floats), {}};
  const auto count = static_cast<int64_t>(packed.panels.size());
  // Tap (u, w) of channel `c` of the phases, which is (row of the phase, column of the phase, channel of the image).
  const auto tap = [&](int64_t o, int64_t c, int64_t u, int64_t w) {
    const int64_t i = u * stride + c / (stride * g.c), j = w * stride + c / g.c % stride;
    return i < g.kh && j < g.kw ? weight_at(weight, layer.dtype, (o * g.kh + i) * g.kw + j, g.c, c % g.c) : 0.0f;
  };
  parallel(layer.threads, [&](int thread) {
    const int64_t last = split_begin(count, layer.threads, thread + 1);
    for (int64_t p = split_begin(count, layer.threads, thread); p < last; ++p) {
      const Panel& panel = packed.panels[p];
      for (int64_t j = 0; j < panel.n; ++j)
        for (int64_t c = 0; c < channels; ++c) {
          double left[kMaxSize][kMaxTaps] = {};  // G g
          for (int w = 0; w < f.r; ++w)
            for (int r = 0; r < f.r; ++r) {
              const double value = tap(panel.column + j, c, r, w);
              for (int u = 0; u < f.size(); ++u) left[u][w] += matrix[u][r] * value;
            }
          float places[kMaxSize * kMaxSize];
          for (int u = 0; u < f.size(); ++u)
            for (int w = 0; w < f.size(); ++w) {
              double sum = 0;
              for (int r = 0; r < f.r; ++r) sum += left[u][r] * matrix[w][r];
              places[u * f.size() + w] = static_cast<float>(sum);
            }
          float* to = packed.weight.get() + panel.offset + c / kernels.tile_k * panel.nr + j;
          Bfloat16 rounded[kMaxSize * kMaxSize];
          if (rounds) kernels.narrow(places, 0, rounded, 0, 1, f.places());
          for (int place = 0; place < f.places(); ++place, to += words * panel.nr) {
            if (rounds) {
              reinterpret_cast<Bfloat16*>(to)[c % kernels.tile_k] = rounded[place];
            } else {
              *to = places[place];
            }
          }
        }
    }
  });
  return packed;
}

std::unique_ptr<const Convolution> make_winograd_convolution(const ConvolutionLayer& layer,
                                                             SharedPackedConvolution packed) {
  return std::make_unique<WinogradConvolution>(layer, std::move(packed));
}

}  // namespace loopwright
