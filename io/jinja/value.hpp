// The values of a template: Python's None, bool, int, float, str, list, tuple and dict, Jinja2's Undefined,
// and objects such as functions and namespaces. All but the objects are immutable, as they are in Jinja2's
// immutable sandbox, so values are shared and not copied.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace collie::jinja {

class Runtime;
class Value;
struct Arguments;

// What a name, key or argument that is not there evaluates to. Printing it gives "", and most else refuses
// it.
struct Undefined {
  std::shared_ptr<const std::string> reason;  // "'x' is undefined"
};

struct None {};

struct Text {
  std::string bytes;     // valid UTF-8
  int64_t length = 0;    // code points
  bool is_safe = false;  // Markup of Jinja2: made by the filter "safe", and + escapes what is added to it

  bool is_ascii() const { return static_cast<size_t>(length) == bytes.size(); }
};

// A sequence by its Python type. A generator is what filters such as "map" return: it is read once.
enum class SequenceKind { list, tuple, range, generator, dict_items, dict_keys, dict_values };

struct Range {
  int64_t start = 0, stop = 0, step = 1;
};

struct Sequence {
  SequenceKind kind = SequenceKind::list;
  std::vector<Value> items;
  int depth = 1;             // lists and dicts in it, itself included
  Range range;               // of a range: what it prints
  mutable size_t taken = 0;  // of a generator: items that have been read
};

// A dict keeps the order in which its keys were added.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  // Adds or replaces. Throws Problem for a key that Python cannot hash.
  void set(const Value& key, Value value);
  // The value of a key, or null.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  const std::vector<Entry>& entries() const { return entries_; }
  int depth() const { return depth_; }

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string, size_t> places_;  // by hash_key
  int depth_ = 1;
};

// Everything else: functions, macros, namespaces, loops.
class Object {
 public:
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;
  virtual std::string_view type_name() const = 0;
  virtual int depth() const { return 0; }  // of the values that it holds and keeps, as for a list
  virtual std::optional<Value> attribute(std::string_view name);
  virtual bool is_callable() const { return false; }
  virtual Value call(Runtime& runtime, const Arguments& arguments);
};

class Value {
 public:
  using Variant =
      std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>,
                   std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>, std::shared_ptr<Object>>;

  Value() = default;
  Value(None none) : held_(none) {}
  Value(bool value) : held_(value) {}
  Value(int64_t value) : held_(value) {}
  Value(double value) : held_(value) {}
  Value(std::string bytes, bool is_safe = false);
  Value(std::string_view bytes) : Value(std::string(bytes)) {}
  Value(const char* bytes) : Value(std::string(bytes)) {}
  Value(std::shared_ptr<const Dict> dict) : held_(std::move(dict)) {}
  Value(std::shared_ptr<const Sequence> sequence) : held_(std::move(sequence)) {}
  Value(std::shared_ptr<Object> object) : held_(std::move(object)) {}
  Value(Undefined undefined) : held_(std::move(undefined)) {}

  bool is_undefined() const { return std::holds_alternative<Undefined>(held_); }
  bool is_none() const { return std::holds_alternative<None>(held_); }
  bool is_bool() const { return std::holds_alternative<bool>(held_); }
  bool is_integer() const { return std::holds_alternative<int64_t>(held_) || is_bool(); }  // as in Python
  bool is_float() const { return std::holds_alternative<double>(held_); }
  bool is_number() const { return is_integer() || is_float(); }
  bool is_text() const { return std::holds_alternative<std::shared_ptr<const Text>>(held_); }
  bool is_dict() const { return std::holds_alternative<std::shared_ptr<const Dict>>(held_); }
  bool is_sequence() const { return std::holds_alternative<std::shared_ptr<const Sequence>>(held_); }
  bool is(SequenceKind kind) const { return is_sequence() && sequence().kind == kind; }

  // The parts. The kind must be the right one.
  int64_t integer() const;
  double number() const;
  const Text& text() const { return *std::get<std::shared_ptr<const Text>>(held_); }
  const std::string& bytes() const { return text().bytes; }
  const Sequence& sequence() const { return *std::get<std::shared_ptr<const Sequence>>(held_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(held_); }
  Object* object() const;  // null if it is none
  const std::string& undefined_reason() const { return *std::get<Undefined>(held_).reason; }
  // Where a list, dict, string or object lies: two values with one address are the same object.
  const void* address() const;
  const Variant& held() const { return held_; }

  int depth() const;                   // lists and dicts in it, itself included
  bool is_true() const;                // Python's bool()
  std::string_view type_name() const;  // "str", "NoneType", "dict", ...

 private:
  Variant held_ = Undefined{};
};

Value undefined(std::string reason);
Value make_sequence(SequenceKind kind, std::vector<Value> items);
inline Value make_list(std::vector<Value> items) {
  return make_sequence(SequenceKind::list, std::move(items));
}
inline Value make_tuple(std::vector<Value> items) {
  return make_sequence(SequenceKind::tuple, std::move(items));
}
Value make_dict(Dict dict);
Value make_range(Range range);

// Python's ==, which holds for values of all types. Throws Problem if the values are too large to compare.
bool equal(Runtime& runtime, const Value& a, const Value& b);
// Python's <. Throws Problem for types that it does not order.
bool less(Runtime& runtime, const Value& a, const Value& b);

// The items of what Python iterates over: sequences, keys of dicts, characters of strings, none of Undefined.
// The rest of a generator is taken. Throws Problem "'int' object is not iterable".
std::vector<Value> items_of(Runtime& runtime, const Value& value);
// Python's len(). Throws Problem if it has none.
int64_t length_of(const Value& value);

// Throws Problem with the reason if the value is Undefined.
const Value& defined(const Value& value);

// A key's text under which a dict finds it: the same for keys that are equal. Throws Problem "unhashable
// type: 'list'".
std::string hash_key(const Value& key);

}  // namespace collie::jinja
