// Transposed convolution by its definition, for CPUs without a supported vector ISA.
#pragma once

#include "loopwright/conv_transpose2d.h"

namespace loopwright {

// weight (c, o / groups, kh, kw); residual is null if absent.
void reference_conv_transpose2d(const ConvTranspose2dGeometry& g, const float* weight, const LayerEpilogue& epilogue,
                                const float* x, const Images& images, float* out, const float* residual, int threads);

}  // namespace loopwright
