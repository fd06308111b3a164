/* The C interface of a user's runtime: a shared library that runs models in the server's process.
 *
 * A model with `runtime = "library"` has the library as NAME/<version>/model.so. It exports loopwright_runtime. docs/serving/threshold.c
 * is an example. A library is code that runs with the server's rights; an error of it can end the server. A class in Python runs in a
 * separate process: see docs/serving.md.
 */
#ifndef LOOPWRIGHT_SERVING_USER_RUNTIME_H_
#define LOOPWRIGHT_SERVING_USER_RUNTIME_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rises when something below changes in a way that libraries notice. */
#define LOOPWRIGHT_RUNTIME_ABI 1

/* The data types of the Open Inference Protocol. The numbers never change. */
enum LoopwrightType {
  LOOPWRIGHT_BOOL = 0,
  LOOPWRIGHT_UINT8 = 1,
  LOOPWRIGHT_UINT16 = 2,
  LOOPWRIGHT_UINT32 = 3,
  LOOPWRIGHT_UINT64 = 4,
  LOOPWRIGHT_INT8 = 5,
  LOOPWRIGHT_INT16 = 6,
  LOOPWRIGHT_INT32 = 7,
  LOOPWRIGHT_INT64 = 8,
  LOOPWRIGHT_FP16 = 9,
  LOOPWRIGHT_BF16 = 10,
  LOOPWRIGHT_FP32 = 11,
  LOOPWRIGHT_FP64 = 12,
  LOOPWRIGHT_BYTES = 13 /* each element: its length (4 bytes, little-endian) and as many bytes */
};

/* What a model takes or returns. A dimension of -1 may have any size. */
typedef struct {
  const char* name;
  int32_t type;
  int32_t rank;
  const int64_t* shape;
} LoopwrightTensorSpec;

/* Elements in row-major order. */
typedef struct {
  int32_t type;
  int32_t rank;
  const int64_t* shape;
  const void* data;
  uint64_t bytes;
} LoopwrightTensor;

/* A setting of [parameters] in config.toml. */
typedef struct {
  const char* name;
  const char* value;
} LoopwrightParameter;

typedef struct {
  const char* folder; /* of the version */
  int32_t threads;    /* that run() may use: as many as the calling thread has cores */
  int32_t parameter_count;
  const LoopwrightParameter* parameters;
} LoopwrightLoad;

/* Where an error goes: one line, cut to `bytes` with its final zero. */
typedef struct {
  char* text;
  size_t bytes;
} LoopwrightError;

/* Memory of the outputs, which the server owns. */
typedef struct {
  void* context;
  /* Returns `bytes` bytes for an output, or null if type and rank differ from outputs(), if a dimension is negative, or if the bytes do
   * not fit the shape. To be called once for each output. */
  void* (*allocate)(void* context, int32_t output, int32_t rank, const int64_t* shape, uint64_t bytes);
} LoopwrightOutputs;

/* Functions return 0, or another number after they have written an error. */
typedef struct {
  uint32_t abi; /* LOOPWRIGHT_RUNTIME_ABI */
  /* Loads a model into *model. Called once for each instance, on a thread that has the instance's cores. */
  int32_t (*load)(const LoopwrightLoad* options, void** model, LoopwrightError* error);
  /* Return the number of tensors, and the tensors, which live as long as the model. */
  int32_t (*inputs)(void* model, const LoopwrightTensorSpec** specs);
  int32_t (*outputs)(void* model, const LoopwrightTensorSpec** specs);
  /* One run at a time for each model. The inputs fit inputs(). -1 means that the request is wrong, others that the runtime failed. */
  int32_t (*run)(void* model, const LoopwrightTensor* inputs, const LoopwrightOutputs* outputs, LoopwrightError* error);
  void (*close)(void* model);
} LoopwrightRuntime;

/* Returns the runtime, which lives as long as the library; null if it has no interface of this version. */
const LoopwrightRuntime* loopwright_runtime(uint32_t abi);

#ifdef __cplusplus
}
#endif

#endif /* LOOPWRIGHT_SERVING_USER_RUNTIME_H_ */
