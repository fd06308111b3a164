#include "protocol/json_values.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/elements.h"
#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

float to_float(float value) { return value; }
double to_float(double value) { return value; }

void from_double(double value, float& result) { result = static_cast<float>(value); }
void from_double(double value, double& result) { result = value; }
void from_double(double value, Fp16& result) {
  const auto half = static_cast<_Float16>(value);
  std::memcpy(&result.bits, &half, sizeof(half));
}
// Rounds to the nearest, ties to even.
void from_double(double value, Bf16& result) {
  const auto single = static_cast<float>(value);
  uint32_t bits;
  std::memcpy(&bits, &single, sizeof(bits));
  if (std::isnan(single)) {
    result.bits = static_cast<uint16_t>((bits >> 16) | 0x40);
  } else {
    result.bits = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }
}

double number_of(const element& value) {
  double number;
  if (!value.get_double().get(number)) return number;  // integers too
  std::string_view text;
  if (!value.get_string().get(text)) {
    if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
    if (text == "Infinity") return std::numeric_limits<double>::infinity();
    if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  }
  throw invalid("an element is not a number");
}

template <class T>
void read(const element& value, T& result) {
  if constexpr (std::is_integral_v<T>) {
    if constexpr (std::is_signed_v<T>) {
      int64_t number;
      if (value.get_int64().get(number) || number < std::numeric_limits<T>::min() ||
          number > std::numeric_limits<T>::max())
        throw invalid("an element is not an integer of " + std::to_string(8 * sizeof(T)) + " bits");
      result = static_cast<T>(number);
    } else {
      uint64_t number;
      if (value.get_uint64().get(number) || number > std::numeric_limits<T>::max())
        throw invalid("an element is not an unsigned integer of " + std::to_string(8 * sizeof(T)) + " bits");
      result = static_cast<T>(number);
    }
  } else {
    from_double(number_of(value), result);
  }
}

void read(const element& value, bool& result) {
  uint64_t number;
  if (!value.get_bool().get(result)) return;
  if (value.get_uint64().get(number) || number > 1) throw invalid("an element is not a boolean");
  result = number == 1;
}

// Calls f(leaf) for all values that are not arrays. The parser has a limit for the depth of arrays.
template <class F>
void each_leaf(const element& value, const F& f) {
  if (value.type() != element_type::ARRAY) return f(value);
  const simdjson::dom::array children = value;
  for (const element& child : children) each_leaf(child, f);
}

template <class T>
std::string read_numbers(const element& value, int64_t count) {
  std::string bytes(static_cast<size_t>(count) * sizeof(T), '\0');
  int64_t place = 0;
  each_leaf(value, [&](const element& leaf) {
    if (place == count)
      throw invalid("the data have more than the " + std::to_string(count) + " elements of the shape");
    T number;
    read(leaf, number);
    std::memcpy(bytes.data() + static_cast<size_t>(place++) * sizeof(T), &number, sizeof(T));
  });
  if (place != count)
    throw invalid("the data have " + std::to_string(place) + " elements, the shape has " + std::to_string(count));
  return bytes;
}

std::string read_strings(const element& value, int64_t count) {
  std::string bytes;
  int64_t place = 0;
  each_leaf(value, [&](const element& leaf) {
    std::string_view text;
    if (leaf.get_string().get(text)) throw invalid("an element of BYTES is not a string");
    append_element(bytes, text);
    ++place;
  });
  if (place != count)
    throw invalid("the data have " + std::to_string(place) + " elements, the shape has " + std::to_string(count));
  return bytes;
}

template <class T>
void write(std::string& text, T value) {
  if constexpr (!std::is_integral_v<T>) {
    const auto number = to_float(value);
    if (!std::isfinite(number)) {
      text += std::isnan(number) ? "\"NaN\"" : number > 0 ? "\"Infinity\"" : "\"-Infinity\"";
      return;
    }
    char digits[32];
    text.append(digits, std::to_chars(digits, digits + sizeof(digits), number).ptr);
  } else {
    char digits[32];
    text.append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
  }
}

void write(std::string& text, bool value) { text += value ? "true" : "false"; }

// Appends the next element of `data` and removes it.
template <class T>
void write_next(std::string& text, std::string_view& data) {
  T value;
  std::memcpy(&value, data.data(), sizeof(T));
  data.remove_prefix(sizeof(T));
  write(text, value);
}

void write_next_string(std::string& text, std::string_view& data) {
  uint32_t length;
  std::memcpy(&length, data.data(), sizeof(length));
  write_string(text, data.substr(sizeof(length), length));
  data.remove_prefix(sizeof(length) + length);
}

using WriteNext = void (*)(std::string&, std::string_view&);

WriteNext writer_of(DataType type) {
  return with_element_type(type, [](auto element) -> WriteNext {
    using T = typename decltype(element)::type;
    if constexpr (std::is_same_v<T, Bytes>)
      return write_next_string;
    else
      return write_next<T>;
  });
}

// Appends the array of the dimensions from `axis` on, and removes its elements.
void write_axis(std::string& text, const std::vector<int64_t>& shape, size_t axis, WriteNext next,
                std::string_view& data) {
  if (axis == shape.size()) return next(text, data);
  text += '[';
  for (int64_t i = 0; i < shape[axis]; ++i) {
    if (i > 0) text += ',';
    write_axis(text, shape, axis + 1, next, data);
  }
  text += ']';
}

// Returns the length of the valid UTF-8 sequence at the start of `text`; 0 without one.
size_t utf8_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = lead < 0x80                   ? 1
                        : lead >= 0xc2 && lead < 0xe0 ? 2
                        : lead >= 0xe0 && lead < 0xf0 ? 3
                        : lead >= 0xf0 && lead < 0xf5 ? 4
                                                      : 0;
  return length > 0 && length <= text.size() && simdjson::validate_utf8(text.data(), length) ? length : 0;
}

}  // namespace

std::string read_elements(const element& value, DataType type, int64_t count) {
  return with_element_type(type, [&](auto element_type) {
    using T = typename decltype(element_type)::type;
    if constexpr (std::is_same_v<T, Bytes>) {
      return read_strings(value, count);
    } else {
      // Each element has at least two characters of the request, so memory is bounded by its size; the parser has read it.
      int64_t leaves = 0;
      each_leaf(value, [&leaves](const element&) { ++leaves; });
      if (leaves != count)
        throw invalid("the data have " + std::to_string(leaves) + " elements, the shape has " + std::to_string(count));
      return read_numbers<T>(value, count);
    }
  });
}

void write_elements(std::string& text, const Tensor& tensor) {
  const int64_t count = element_count(tensor.shape());
  const WriteNext next = writer_of(tensor.type());
  std::string_view data = tensor.view();
  text += '[';
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0) text += ',';
    next(text, data);
  }
  text += ']';
}

void write_nested(std::string& text, const Tensor& tensor) {
  std::string_view data = tensor.view();
  write_axis(text, tensor.shape(), 0, writer_of(tensor.type()), data);
}

void write_string(std::string& text, std::string_view value) {
  text += '"';
  while (!value.empty()) {
    const char c = value.front();
    const size_t length = utf8_length(value);
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr char kHex[] = "0123456789abcdef";
      text += "\\u00";
      text += kHex[c >> 4];
      text += kHex[c & 15];
    } else if (length == 0) {
      text += "\xEF\xBF\xBD";  // U+FFFD
    } else {
      text.append(value.substr(0, length));
    }
    value.remove_prefix(length == 0 ? 1 : length);
  }
  text += '"';
}

}  // namespace loopwright::serving
