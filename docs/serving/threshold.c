/* A user's runtime: y = 1 where x is at least a limit, else 0. The limit is [parameters] limit of config.toml.
 *
 *   cc -O2 -shared -fPIC -I serving/cpp/include docs/serving/threshold.c -o models/threshold/1/model.so
 */
#include <loopwright/serving/user_runtime.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  float limit;
} Model;

static const int64_t kShape[] = {-1};
static const LoopwrightTensorSpec kInputs[] = {{"x", LOOPWRIGHT_FP32, 1, kShape}};
static const LoopwrightTensorSpec kOutputs[] = {{"y", LOOPWRIGHT_INT32, 1, kShape}};

static int32_t load(const LoopwrightLoad* options, void** model, LoopwrightError* error) {
  float limit = 0;
  for (int32_t i = 0; i < options->parameter_count; ++i) {
    if (strcmp(options->parameters[i].name, "limit") != 0) continue;
    char* end;
    limit = strtof(options->parameters[i].value, &end);
    if (*end != '\0') {
      snprintf(error->text, error->bytes, "parameters.limit must be a number, got '%s'", options->parameters[i].value);
      return 1;
    }
  }
  Model* made = malloc(sizeof(Model));
  if (!made) return 1;
  made->limit = limit;
  *model = made;
  return 0;
}

static int32_t inputs(void* model, const LoopwrightTensorSpec** specs) {
  (void)model;
  *specs = kInputs;
  return 1;
}

static int32_t outputs(void* model, const LoopwrightTensorSpec** specs) {
  (void)model;
  *specs = kOutputs;
  return 1;
}

static int32_t run(void* model, const LoopwrightTensor* x, const LoopwrightOutputs* outputs, LoopwrightError* error) {
  const int64_t count = x->shape[0];
  int32_t* y = outputs->allocate(outputs->context, 0, 1, &count, (uint64_t)count * sizeof(int32_t));
  if (!y) return 1;
  for (int64_t i = 0; i < count; ++i) {
    const float value = ((const float*)x->data)[i];
    if (value != value) {
      snprintf(error->text, error->bytes, "x has a NaN at %lld", (long long)i);
      return -1; /* the request is wrong */
    }
    y[i] = value >= ((const Model*)model)->limit;
  }
  return 0;
}

static void close_model(void* model) { free(model); }

static const LoopwrightRuntime kRuntime = {LOOPWRIGHT_RUNTIME_ABI, load, inputs, outputs, run, close_model};

const LoopwrightRuntime* loopwright_runtime(uint32_t abi) { return abi == LOOPWRIGHT_RUNTIME_ABI ? &kRuntime : NULL; }
