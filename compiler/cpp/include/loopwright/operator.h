/* Operators of users: the C interface of a shared library with ONNX operators of an own domain. Plain C99, so that any
 * language with a C interface can implement it. docs/user_operators has an example.
 *
 * The library exports one function:
 *
 *   const LoopwrightOperators* loopwright_operators(uint32_t version);
 *
 * It is called with LOOPWRIGHT_OPERATOR_VERSION of the caller, and returns a table that lives as long as the process, or NULL if
 * it does not implement this version. */
#ifndef LOOPWRIGHT_OPERATOR_H_
#define LOOPWRIGHT_OPERATOR_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOOPWRIGHT_OPERATOR_VERSION 1u

#define LOOPWRIGHT_MOST_AXES 16
#define LOOPWRIGHT_MOST_TENSORS 64 /* of a node: its inputs and outputs together */

/* Element types, with the numbers of onnx.TensorProto. */
enum {
  LOOPWRIGHT_NONE = 0, /* an optional input that the node omits */
  LOOPWRIGHT_FLOAT32 = 1,
  LOOPWRIGHT_UINT8 = 2,
  LOOPWRIGHT_INT8 = 3,
  LOOPWRIGHT_UINT16 = 4,
  LOOPWRIGHT_INT16 = 5,
  LOOPWRIGHT_INT32 = 6,
  LOOPWRIGHT_INT64 = 7,
  LOOPWRIGHT_BOOL = 9, /* one byte, 0 or 1 */
  LOOPWRIGHT_FLOAT16 = 10,
  LOOPWRIGHT_FLOAT64 = 11,
  LOOPWRIGHT_UINT32 = 12,
  LOOPWRIGHT_UINT64 = 13
};

/* The type of an input or output: contiguous, in row-major order. */
typedef struct LoopwrightTensorType {
  int32_t element; /* an element type */
  int32_t axes;    /* how many sizes there are; 0 for a single number */
  int64_t sizes[LOOPWRIGHT_MOST_AXES];
} LoopwrightTensorType;

/* Kinds of attributes, with the numbers of onnx.AttributeProto. */
enum {
  LOOPWRIGHT_A_FLOAT = 1,
  LOOPWRIGHT_AN_INT = 2,
  LOOPWRIGHT_A_STRING = 3,
  LOOPWRIGHT_FLOATS = 6,
  LOOPWRIGHT_INTS = 7,
  LOOPWRIGHT_STRINGS = 8
};

typedef struct LoopwrightAttribute {
  const char* name;
  int32_t kind;
  int64_t count;              /* of a list; otherwise 1 */
  const int64_t* ints;        /* of AN_INT and INTS; otherwise NULL */
  const float* floats;        /* of A_FLOAT and FLOATS; otherwise NULL */
  const char* const* strings; /* of A_STRING and STRINGS, each ends with a zero byte; otherwise NULL */
} LoopwrightAttribute;

/* A node of a model. Everything in it lives until the function that receives it returns. */
typedef struct LoopwrightNode {
  int32_t attribute_count;
  int32_t input_count;                   /* omitted inputs in the middle count */
  int32_t output_count;                  /* outputs that nothing reads count */
  const LoopwrightAttribute* attributes; /* those that the model states */
  const LoopwrightTensorType* inputs;
} LoopwrightNode;

/* One run of a node. Each address is a multiple of 64, inputs and outputs do not overlap, and exactly the bytes of their types
 * are there. */
typedef struct LoopwrightRun {
  const void* const* inputs; /* NULL for an omitted one */
  void* const* outputs;
  const LoopwrightTensorType* output_types;
  int32_t threads; /* that parallel() uses */
  /* Calls task(state, 0), ..., task(state, count - 1) on the threads of the program, and returns when all have returned. Use it
   * instead of threads of the operator, which would compete for the same cores. A task must not call it. */
  void (*parallel)(const struct LoopwrightRun* run, int64_t count, void (*task)(void* state, int64_t index),
                   void* state);
} LoopwrightRun;

/* An operator. Both functions return 0, or another number after they wrote the reason to `error`: a text of at most `size` bytes
 * with its zero byte, in one line. They may be called by several threads at once, for the same node too, and must not throw. */
typedef struct LoopwrightOperator {
  const char* domain; /* such as "com.example"; not one of ONNX's own */
  const char* name;
  int32_t least_inputs, most_inputs;
  int32_t least_outputs, most_outputs;

  /* Writes the types of the outputs, which depend on nothing but the node. It is called when a model is built, and again when
   * a saved one is loaded, where it must give the same types. */
  int (*infer)(const LoopwrightNode* node, LoopwrightTensorType* outputs, char* error, size_t size);

  /* Writes all elements of the outputs, and reads nothing but the inputs. Subnormal numbers are zero, unless the program keeps
   * them. */
  int (*run)(const LoopwrightNode* node, const LoopwrightRun* run, char* error, size_t size);
} LoopwrightOperator;

typedef struct LoopwrightOperators {
  uint32_t version; /* LOOPWRIGHT_OPERATOR_VERSION */
  uint32_t count;
  const LoopwrightOperator* operators;
} LoopwrightOperators;

#ifdef __cplusplus
}
#endif

#endif /* LOOPWRIGHT_OPERATOR_H_ */
