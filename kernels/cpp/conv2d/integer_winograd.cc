// Winograd's F(2×2, 3×3) for 8-bit integers, exact: 16 multiplications compute 4 outputs, instead of 36.
//
//   the image becomes int16 without its zero point, with zeros around it
//   for blocks of tiles:   V[ξ] = (Bᵀ d B)[ξ]          in int16: sums of 4 pixels, at most 1020
//     for panels:          M[ξ] = V[ξ] · U[ξ]          in int32; U = 4 G g Gᵀ in int16, at most 1152
//                          sum = (Aᵀ M A) / 4 → scales, bias, residual, activation, rounding
//
// The output transform may wrap around, but its result is 4 times the sum of products, which fits int32 up to
// kMostIntegerWinogradChannels channels. So the integers are those of the direct convolution. Only AVX2 gains: it multiplies pairs
// of int16 in any case, whereas instructions on bytes would need words of twice the size.
#include <algorithm>
#include <vector>

#include "conv2d/winograd_products.h"
#include "convolution.h"
#include "core/shares.h"
#include "gemm/epilogue.h"
#include "gemm/input_words.h"
#include "gemm/tile_quantization.h"
#include "loopwright/thread_pool.h"

namespace loopwright {
namespace {

constexpr int64_t kOutputs = 2, kSize = 4, kPlaces = kSize * kSize;  // of a tile, per side and in all
constexpr int64_t kPerWord = 2;                                      // int16

class IntegerWinograd final : public Convolution {
 public:
  IntegerWinograd(const ConvolutionLayer& layer, SharedPackedConvolution shared)
      : Convolution(std::move(shared)),
        geometry_(layer.geometry),
        kernels_(kernel_table(layer.target, layer.dtype)),
        epilogue_(Epilogue::of_slopes(layer.activation, packed().constants.slopes.get(), kernel_table(layer.target))),
        words_(to_words(layer.geometry.c, kPerWord)) {}

  void run(const Conv2dSchedule& s, const Matrix& x, const Images& images, const Matrix& out,
           const Matrix& residual) const override;

 private:
  struct Call;
  // Stores row `row` of the padded images as int16.
  void copy_row(const Call& call, int64_t row) const;
  void transform_input(const Call& call, const Range& tiles, float* v) const;
  void transform_output(const Call& call, const Range& tiles, const Panel& panel, const float* m, float* floats) const;

  Conv2dGeometry geometry_;
  const KernelTable& kernels_;
  Epilogue epilogue_;
  int64_t words_;  // of a pixel
};

struct IntegerWinograd::Call {
  const InputWords& input;
  Matrix x;
  Images images;
  Matrix out, residual;
  TileQuantization tile;
  int64_t oh, ow;
  int64_t down = 0, across = 0;      // tiles of an image
  int64_t height = 0, width = 0;     // of an image with its padding
  int64_t pixel = 0;                 // words from pixel to pixel of the padded images, and from tile to tile of V
  float* image = nullptr;            // the padded images
  int64_t v_place = 0, m_place = 0;  // words from place to place

  int64_t tiles() const { return images.n * down * across; }
  int64_t row() const { return width * pixel; }
};

void IntegerWinograd::run(const Conv2dSchedule& s, const Matrix& x, const Images& images, const Matrix& out,
                          const Matrix& residual) const {
  const Conv2dGeometry& g = geometry_;
  const LayerConstants& constants = packed().constants;
  const int threads = s.threads.count();
  const InputWords input(kernels_, constants.quantization, x, images.n * images.h * images.w, g.c, threads);
  const int64_t oh = g.output_h(images.h), ow = g.output_w(images.w);
  Call call{input,
            x,
            images,
            out,
            residual,
            tile_quantization(constants.epilogue(input.quantization()).quantization, out.dtype, constants.activation),
            oh,
            ow};
  call.down = ceil_div(oh, kOutputs);
  call.across = ceil_div(ow, kOutputs);
  call.height = call.down * kOutputs + kSize - kOutputs;
  call.width = call.across * kOutputs + kSize - kOutputs;
  call.pixel = whole_lines(words_);  // whole vectors
  const int64_t tiles = call.tiles(), block = std::min(s.rows, tiles), nr = packed().nr;
  call.v_place = spread_stride(block * call.pixel);
  call.m_place = spread_stride(block * nr);

  const int64_t image_floats = images.n * call.height * call.row();
  const int64_t v_floats = kPlaces * call.v_place, m_floats = kPlaces * call.m_place,
                tile_floats = kOutputs * kOutputs * nr;
  const int64_t own_floats = v_floats + m_floats + whole_lines(tile_floats);
  // Allocated here, because the threads of the pool must not throw.
  call.image = scratch(image_floats + own_floats * threads);
  float* const own = call.image + image_floats;
  parallel_chunks(threads, images.n * call.height, [&](int, int64_t row) { copy_row(call, row); });

  const int64_t blocks = ceil_div(ceil_div(tiles, s.threads.m), block);
  const auto panels = static_cast<int64_t>(packed().panels.size());
  parallel_shares(s.threads, blocks, [&](int slot, const Share& share) {
    const Range here = Range{0, tiles}.part(s.threads.m, share.i).part(blocks, share.piece);
    const Range of_share = Range{0, panels}.part(s.threads.n, share.j);
    if (here.size() == 0 || of_share.size() == 0) return;
    float *const v = own + slot * own_floats, *const m = v + v_floats, *const floats = m + m_floats;
    transform_input(call, here, v);
    for (int64_t p = of_share.begin; p < of_share.end; ++p) {
      const Panel& panel = packed().panels[static_cast<size_t>(p)];
      const float* const weight = packed().weight.get();
      const float* next = p + 1 < of_share.end ? weight + packed().panels[static_cast<size_t>(p + 1)].offset : nullptr;
      multiply_places(kernels_, s, {v, call.pixel, call.v_place, m, call.m_place, here.size(), kPlaces, words_}, panel,
                      weight + panel.offset, next);
      transform_output(call, here, panel, m, floats);
    }
  });
}

void IntegerWinograd::copy_row(const Call& call, int64_t row) const {
  const Conv2dGeometry& g = geometry_;
  float* to = call.image + row * call.row();
  const int64_t image = row / call.height, from = row % call.height - g.pad_top;
  if (from < 0 || from >= call.images.h) return call.input.pad(to, call.row());
  const int64_t left = std::min(g.pad_left, call.width), inside = std::min(call.images.w, call.width - left);
  call.input.pad(to, left * call.pixel);
  for (int64_t j = 0; j < inside; ++j) {
    float* const pixel = to + (left + j) * call.pixel;
    call.input.copy(call.x.address((image * call.images.h + from) * call.images.w + j, 0), g.c, pixel);
  }
  call.input.pad(to + (left + inside) * call.pixel, (call.width - left - inside) * call.pixel);
}

void IntegerWinograd::transform_input(const Call& call, const Range& tiles, float* v) const {
  IntegerWinogradInput args{};
  args.row_stride = kPerWord * call.row();
  args.pixel_stride = kPerWord * call.pixel;
  args.words = words_;
  args.place_stride = call.v_place;
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile, v += call.pixel) {
    const int64_t line = tile / call.across, row = line / call.down * call.height + line % call.down * kOutputs;
    args.d =
        reinterpret_cast<const int16_t*>(call.image + row * call.row() + tile % call.across * kOutputs * call.pixel);
    args.v = v;
    kernels_.integer_winograd.input(args);
  }
}

void IntegerWinograd::transform_output(const Call& call, const Range& tiles, const Panel& panel, const float* m,
                                       float* floats) const {
  const Conv2dGeometry& g = geometry_;
  const LayerConstants& constants = packed().constants;
  const bool rounds = is_integer(call.out.dtype), in_memory = rounds && epilogue_.activate;
  const auto at = [&](const float* of_channels) { return of_channels ? of_channels + panel.column : nullptr; };
  IntegerWinogradOutput args{};
  args.place_stride = call.m_place;
  args.n = panel.n;
  args.row_stride = in_memory ? kOutputs * panel.n : call.ow * g.o;
  args.pixel_stride = in_memory ? panel.n : g.o;
  args.residual_row_stride = call.ow * g.o;
  args.residual_pixel_stride = g.o;
  args.scales = at(constants.scales.get());
  args.bias = at(constants.bias.get());
  args.lo = epilogue_.lo;
  args.hi = epilogue_.hi;
  args.slopes = epilogue_.slopes_from(panel.column);
  args.quantization = &call.tile;
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile, m += panel.nr) {
    const int64_t line = tile / call.across, y = line % call.down * kOutputs, x = tile % call.across * kOutputs;
    const int64_t pixel = (line / call.down * call.oh + y) * call.ow + x;
    args.m = m;
    args.rows = static_cast<int>(std::min(kOutputs, call.oh - y));
    args.columns = static_cast<int>(std::min(kOutputs, call.ow - x));
    args.y = in_memory ? floats : rounds ? nullptr : call.out.at<float>(pixel, panel.column);
    args.rounded = rounds ? call.out.at<uint8_t>(pixel, panel.column) : nullptr;
    if (call.residual.data && is_integer(call.residual.dtype)) {
      args.rounded_residual = call.residual.at<uint8_t>(pixel, panel.column);
    } else if (call.residual.data) {
      args.residual = call.residual.at<float>(pixel, panel.column);
    }
    kernels_.integer_winograd.output(args);
    if (!epilogue_.activate) continue;
    for (int i = 0; i < args.rows; ++i) {
      float* const row = args.y + i * args.row_stride;
      epilogue_.activate(row, args.pixel_stride, args.columns, panel.n, nullptr);
      if (in_memory)
        kernels_.integer_rows.quantize(row, panel.n, args.rounded + i * args.residual_row_stride, g.o, args.columns,
                                       panel.n, call.tile.out);
    }
  }
}

// 2 G g, for the three taps of a row or a column.
void transform_kernel(const int (&g)[3], int (&u)[4]) {
  u[0] = -2 * g[0];
  u[1] = g[0] + g[1] + g[2];
  u[2] = g[0] - g[1] + g[2];
  u[3] = 2 * g[2];
}

}  // namespace

PackedConvolution pack_integer_winograd(const ConvolutionLayer& layer, const int8_t* weight, int nr) {
  const Conv2dGeometry& g = layer.geometry;
  const int lanes = kernel_table(layer.target, layer.dtype).lanes;
  const int64_t words = to_words(g.c, kPerWord), k = kPlaces * words;
  const PanelRows rows{1, k, lanes};
  const int64_t floats = rows.packed_floats(g.o, nr);
  PackedConvolution packed{
      Conv2dSchedule::Algorithm::kWinograd2, nr, split_panels(g.o, rows, nr), floats, make_weight_buffer(floats), {}};
  const Buffer transformed = make_buffer(g.o * k);  // (o, place, word)
  auto* const elements = reinterpret_cast<int16_t*>(transformed.get());
  for (int64_t o = 0; o < g.o; ++o)
    for (int64_t c = 0; c < g.c; ++c) {
      const int8_t* const taps = weight + (o * g.c + c) * 9;
      int columns[3][4], places[4][4];  // [column of the kernel][row], then [row][column]
      for (int j = 0; j < 3; ++j) {
        const int column[3] = {taps[j], taps[3 + j], taps[6 + j]};
        transform_kernel(column, columns[j]);
      }
      for (int i = 0; i < 4; ++i) {
        const int row[3] = {columns[0][i], columns[1][i], columns[2][i]};
        transform_kernel(row, places[i]);
      }
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
          elements[(o * kPlaces + kSize * i + j) * words * kPerWord + c] = static_cast<int16_t>(places[i][j]);
    }
  pack_panels(packed.panels, transformed.get(), k, rows, packed.weight.get(), layer.threads);
  return packed;
}

std::unique_ptr<const Convolution> make_integer_winograd(const ConvolutionLayer& layer,
                                                         SharedPackedConvolution packed) {
  return std::make_unique<IntegerWinograd>(layer, std::move(packed));
}

}  // namespace loopwright
