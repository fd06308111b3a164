// What the server uses of ONNX Runtime's C interface. Its wheel has no headers. The table of functions only ever grows at its end,
// so the places below are those of every release since 1.0; https://onnxruntime.ai/docs/api/c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace loopwright::serving::ort {

struct Status;
struct Env;
struct Session;
struct SessionOptions;
struct MemoryInfo;
struct Value;
struct TypeInfo;
struct TensorInfo;
struct Allocator;

// ONNX's numbers of element types.
enum ElementType {
  kFloat = 1,
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kInt32,
  kInt64,
  kString,
  kBool,
  kFloat16,
  kDouble,
  kUint32,
  kUint64,
  kBfloat16 = 16
};

// The functions of a loaded library.
struct Api {
  const char* (*error_message)(const Status*);
  Status* (*create_env)(int severity, const char* name, Env**);
  Status* (*create_session)(const Env*, const char* path, const SessionOptions*, Session**);
  Status* (*run)(Session*, const void* options, const char* const* input_names, const Value* const* inputs,
                 size_t input_count, const char* const* output_names, size_t output_count, Value** outputs);
  Status* (*create_session_options)(SessionOptions**);
  Status* (*set_intra_op_threads)(SessionOptions*, int);
  // Loads a library of custom operators. The caller may unload it after all sessions.
  Status* (*register_operators)(SessionOptions*, const char* path, void** library);
  Status* (*input_count)(const Session*, size_t*);
  Status* (*output_count)(const Session*, size_t*);
  Status* (*input_type)(const Session*, size_t, TypeInfo**);
  Status* (*output_type)(const Session*, size_t, TypeInfo**);
  Status* (*input_name)(const Session*, size_t, Allocator*, char**);
  Status* (*output_name)(const Session*, size_t, Allocator*, char**);
  Status* (*create_tensor)(Allocator*, const int64_t* shape, size_t rank, int type, Value**);
  Status* (*wrap_tensor)(const MemoryInfo*, void* data, size_t bytes, const int64_t* shape, size_t rank, int type,
                         Value**);
  Status* (*tensor_data)(Value*, void**);
  Status* (*fill_strings)(Value*, const char* const*, size_t);
  Status* (*strings_bytes)(const Value*, size_t*);
  Status* (*strings)(const Value*, void*, size_t bytes, size_t* offsets, size_t count);
  Status* (*tensor_info)(const TypeInfo*, const TensorInfo**);
  Status* (*element_type)(const TensorInfo*, int*);
  Status* (*rank)(const TensorInfo*, size_t*);
  Status* (*shape)(const TensorInfo*, int64_t*, size_t);
  Status* (*value_info)(const Value*, TensorInfo**);
  Status* (*cpu_memory)(int allocator_type, int memory_type, MemoryInfo**);
  Status* (*free)(Allocator*, void*);
  Status* (*default_allocator)(Allocator**);
  void (*release_status)(Status*);
  void (*release_session)(Session*);
  void (*release_value)(Value*);
  void (*release_type_info)(TypeInfo*);
  void (*release_tensor_info)(TensorInfo*);
  void (*release_session_options)(SessionOptions*);
};

// Loads the library once. `path` is a file, or a name that the dynamic linker finds. Throws Error (kUnavailable).
const Api& api(const std::string& path);
// Throws std::runtime_error with the message of a status that is not null.
void check(const Api& api, Status* status);

}  // namespace loopwright::serving::ort
