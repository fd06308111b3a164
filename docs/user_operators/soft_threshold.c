/* com.example::SoftThreshold: y = sign(x) * max(|x| - threshold, 0) for each element of a float32 tensor, which shrinks the noise of
 * wavelet coefficients. Attribute: threshold, at least 0. */
#include <loopwright/operator.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Returns the attribute of this name and kind; NULL if the node does not state it. */
static const LoopwrightAttribute* find(const LoopwrightNode* node, const char* name, int32_t kind) {
  for (int32_t i = 0; i < node->attribute_count; ++i)
    if (!strcmp(node->attributes[i].name, name) && node->attributes[i].kind == kind) return &node->attributes[i];
  return NULL;
}

static int infer(const LoopwrightNode* node, LoopwrightTensorType* outputs, char* error, size_t size) {
  if (node->inputs[0].element != LOOPWRIGHT_FLOAT32) {
    snprintf(error, size, "x must be float32");
    return 1;
  }
  const LoopwrightAttribute* threshold = find(node, "threshold", LOOPWRIGHT_A_FLOAT);
  if (!threshold || !(threshold->floats[0] >= 0)) {
    snprintf(error, size, "the attribute threshold must be a float of at least 0");
    return 1;
  }
  outputs[0] = node->inputs[0];
  return 0;
}

enum { kChunk = 1 << 14 }; /* elements, which take longer than to start a thread */

typedef struct Work {
  const float* x;
  float* y;
  int64_t count;
  float threshold;
} Work;

static void shrink(void* state, int64_t chunk) {
  const Work* work = state;
  const int64_t begin = chunk * kChunk;
  const int64_t end = begin + kChunk < work->count ? begin + kChunk : work->count;
  for (int64_t i = begin; i < end; ++i)
    work->y[i] = copysignf(fmaxf(fabsf(work->x[i]) - work->threshold, 0.0f), work->x[i]);
}

static int run(const LoopwrightNode* node, const LoopwrightRun* run, char* error, size_t size) {
  (void)error, (void)size; /* it cannot fail */
  Work work = {run->inputs[0], run->outputs[0], 1, find(node, "threshold", LOOPWRIGHT_A_FLOAT)->floats[0]};
  for (int32_t axis = 0; axis < node->inputs[0].axes; ++axis) work.count *= node->inputs[0].sizes[axis];
  run->parallel(run, (work.count + kChunk - 1) / kChunk, shrink, &work);
  return 0;
}

static const LoopwrightOperator kOperators[] = {{"com.example", "SoftThreshold", 1, 1, 1, 1, infer, run}};
static const LoopwrightOperators kTable = {LOOPWRIGHT_OPERATOR_VERSION, 1, kOperators};

const LoopwrightOperators* loopwright_operators(uint32_t version) {
  return version == LOOPWRIGHT_OPERATOR_VERSION ? &kTable : NULL;
}
