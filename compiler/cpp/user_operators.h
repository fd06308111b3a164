// Operators of users, from shared libraries; loopwright/operator.h is their interface.
#pragma once

#include <tvm/ffi/dtype.h>
#include <tvm/ffi/extra/json.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "loopwright/operator.h"

namespace loopwright {

// The operators of some libraries, by domain and name. The libraries stay loaded to the end of the process.
class UserOperators {
 public:
  // Each path is that of a file. Throws std::invalid_argument, one line that names the library.
  static std::shared_ptr<const UserOperators> load(const std::vector<std::string>& paths);

  // Returns null if no library has it.
  const LoopwrightOperator* find(const std::string& domain, const std::string& name) const;
  // Domains and names.
  std::vector<std::pair<std::string, std::string>> names() const;

 private:
  std::map<std::pair<std::string, std::string>, const LoopwrightOperator*> operators_;
};

// A node of a model and its operator.
class UserNode {
 public:
  // Reads a description: domain, operator, attributes ([name, kind, value]) and inputs ({dtype, shape}, or null for an omitted
  // one). Throws std::invalid_argument if it is not valid, or if no library has the operator.
  UserNode(const tvm::ffi::json::Object& description, size_t outputs, const UserOperators* operators);
  UserNode(const UserNode&) = delete;  // the node refers to the other members
  UserNode& operator=(const UserNode&) = delete;

  // Returns the types of the outputs. Throws std::invalid_argument if the operator fails or returns what is not possible.
  std::vector<LoopwrightTensorType> infer() const;
  // Throws std::invalid_argument with the reason if the operator fails.
  void run(const LoopwrightRun& run) const;

  const std::vector<LoopwrightTensorType>& inputs() const { return inputs_; }

 private:
  void add(const std::string& name, const tvm::ffi::Any& kind, const tvm::ffi::Any& value);

  std::string title_;  // of the operator, for errors
  const LoopwrightOperator* operator_;
  std::vector<LoopwrightTensorType> inputs_;
  std::vector<LoopwrightAttribute> attributes_;
  // What attributes refer to; a deque does not move its elements.
  std::deque<std::string> texts_;
  std::deque<std::vector<int64_t>> ints_;
  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<const char*>> strings_;
  LoopwrightNode node_{};
};

// Reads {dtype, shape}. Throws std::invalid_argument.
LoopwrightTensorType tensor_type(const tvm::ffi::json::Object& description);
tvm::ffi::json::Object described(const LoopwrightTensorType& type);
DLDataType dtype_of(const LoopwrightTensorType& type);
bool is_same(const LoopwrightTensorType& a, const LoopwrightTensorType& b);

}  // namespace loopwright
