// Plain C++: the fallback on CPUs without a supported vector ISA, and the specification of the vectorized functions.
#pragma once

#include "microkernels/kernel_table.h"

namespace loopwright {

// `slope` is that of kPrelu.
float reference_activation(Activation activation, float x, float slope = 0.0f);
void reference_attention_weights(const AttentionWeightsArgs& args);
void reference_max_pool_row(const PoolRow& row);
void reference_max_pool_row_of_uint8(const BytePoolRow& row);
void reference_max_pool_row_of_int8(const BytePoolRow& row);
void reference_average_pool_row(const PoolRow& row);
void reference_depthwise_windows(const DepthwiseWindows& windows, const DepthwiseLayer& layer);
void add_reference_row_operators(KernelTable& kernels);
RecurrentFunctions reference_recurrent_functions();
ChannelFunctions reference_channel_functions();
IntegerRowFunctions reference_integer_rows();

}  // namespace loopwright
