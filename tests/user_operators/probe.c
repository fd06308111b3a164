/* Operators that show what a program passes to them, and operators that are wrong. */
#include <loopwright/operator.h>
#include <stdio.h>
#include <string.h>

#ifndef VERSION
#define VERSION LOOPWRIGHT_OPERATOR_VERSION
#endif

static int64_t elements(const LoopwrightTensorType* type) {
  int64_t count = 1;
  for (int32_t axis = 0; axis < type->axes; ++axis) count *= type->sizes[axis];
  return count;
}

static int bytes_of(int32_t element) {
  switch (element) {
    case LOOPWRIGHT_UINT8:
    case LOOPWRIGHT_INT8:
    case LOOPWRIGHT_BOOL: return 1;
    case LOOPWRIGHT_UINT16:
    case LOOPWRIGHT_INT16:
    case LOOPWRIGHT_FLOAT16: return 2;
    case LOOPWRIGHT_FLOAT64:
    case LOOPWRIGHT_INT64:
    case LOOPWRIGHT_UINT64: return 8;
    default: return 4;
  }
}

/* Two copies: (x) -> (x flat and twice, the number of elements as int64). */
static int twice(const LoopwrightNode* node, LoopwrightTensorType* outputs, char* error, size_t size) {
  (void)error, (void)size;
  outputs[0].element = node->inputs[0].element;
  outputs[0].axes = 2;
  outputs[0].sizes[0] = 2;
  outputs[0].sizes[1] = elements(&node->inputs[0]);
  outputs[1].element = LOOPWRIGHT_INT64;
  outputs[1].axes = 0;
  return 0;
}

static int run_twice(const LoopwrightNode* node, const LoopwrightRun* run, char* error, size_t size) {
  (void)error, (void)size;
  const int64_t count = elements(&node->inputs[0]);
  const size_t bytes = (size_t)count * (size_t)bytes_of(node->inputs[0].element);
  memcpy(run->outputs[0], run->inputs[0], bytes);
  memcpy((char*)run->outputs[0] + bytes, run->inputs[0], bytes);
  *(int64_t*)run->outputs[1] = count;
  return 0;
}

/* (x, omitted or not, z) -> x with the sum of all numbers of the attributes, the lengths of all strings and z added. */
static int same(const LoopwrightNode* node, LoopwrightTensorType* outputs, char* error, size_t size) {
  (void)error, (void)size;
  outputs[0] = node->inputs[0];
  return 0;
}

static int run_sum(const LoopwrightNode* node, const LoopwrightRun* run, char* error, size_t size) {
  double sum = 0;
  for (int32_t i = 0; i < node->attribute_count; ++i) {
    const LoopwrightAttribute* a = &node->attributes[i];
    for (int64_t j = 0; j < a->count; ++j) {
      if (a->ints) sum += (double)a->ints[j];
      if (a->floats) sum += a->floats[j];
      if (a->strings) sum += (double)strlen(a->strings[j]);
    }
  }
  if (node->inputs[1].element != LOOPWRIGHT_NONE || run->inputs[1]) {
    snprintf(error, size, "the second input is there");
    return 1;
  }
  sum += ((const float*)run->inputs[2])[0];
  for (int64_t i = 0; i < elements(&node->inputs[0]); ++i)
    ((float*)run->outputs[0])[i] = ((const float*)run->inputs[0])[i] + (float)sum;
  return 0;
}

static int negative(const LoopwrightNode* node, LoopwrightTensorType* outputs, char* error, size_t size) {
  same(node, outputs, error, size);
  outputs[0].sizes[0] = -1;
  return 0;
}

static int huge(const LoopwrightNode* node, LoopwrightTensorType* outputs, char* error, size_t size) {
  same(node, outputs, error, size);
  outputs[0].axes = 4;
  for (int axis = 0; axis < 4; ++axis) outputs[0].sizes[axis] = (int64_t)1 << 32;
  return 0;
}

static int many_axes(const LoopwrightNode* node, LoopwrightTensorType* outputs, char* error, size_t size) {
  same(node, outputs, error, size);
  outputs[0].axes = LOOPWRIGHT_MOST_AXES + 1;
  return 0;
}

static int untyped(const LoopwrightNode* node, LoopwrightTensorType* outputs, char* error, size_t size) {
  (void)node, (void)outputs, (void)error, (void)size;
  return 0;
}

static int fails(const LoopwrightNode* node, LoopwrightTensorType* outputs, char* error, size_t size) {
  (void)node, (void)outputs;
  snprintf(error, size, "it takes\nno such node");
  return 7;
}

static int run_fails(const LoopwrightNode* node, const LoopwrightRun* run, char* error, size_t size) {
  (void)node, (void)run;
  memset(error, 'x', size); /* without the zero byte */
  return 1;
}

static const LoopwrightOperator kOperators[] = {
    {"com.probe", "Twice", 1, 1, 2, 2, twice, run_twice},
    {"com.probe", "Sum", 3, 3, 1, 1, same, run_sum},
    {"com.probe", "Negative", 1, 1, 1, 1, negative, run_fails},
    {"com.probe", "Huge", 1, 1, 1, 1, huge, run_fails},
    {"com.probe", "ManyAxes", 1, 1, 1, 1, many_axes, run_fails},
    {"com.probe", "Untyped", 1, 1, 1, 1, untyped, run_fails},
    {"com.probe", "Fails", 1, 1, 1, 1, fails, run_fails},
    {"com.probe", "RunFails", 1, 1, 1, 1, same, run_fails},
};
static const LoopwrightOperators kTable = {VERSION, sizeof(kOperators) / sizeof(kOperators[0]), kOperators};

const LoopwrightOperators* loopwright_operators(uint32_t version) {
#ifdef OTHER_VERSION
  (void)version;
  return NULL;
#else
  (void)version;
  return &kTable;
#endif
}
