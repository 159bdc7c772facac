# SPDX-License-Identifier: Apache-2.0
#
# Writes a C++ source that holds texts, so that the program needs no files.
#
#   cmake -D OUT=out.cpp -D "NAMES=a.lua;b/c.lua" -D DIR=folder -P this

set(code "// Generated from the Lua sources; do not edit.\n\n")
string(APPEND code "#include \"actors/strategy/builtin_sources.hpp\"\n\n")
string(APPEND code "namespace muster {\n\n")
string(APPEND code "const std::map<std::string, std::string, std::less<>>&\n")
string(APPEND code "builtin_sources() {\n")
string(APPEND code "  static const std::map<std::string, std::string, std::less<>> table{\n")
foreach(name IN LISTS NAMES)
  file(READ "${DIR}/${name}" text)
  string(APPEND code "    {\"${name}\", R\"muster(${text})muster\"},\n")
endforeach()
string(APPEND code "  };\n  return table;\n}\n\n} // namespace muster\n")
file(WRITE "${OUT}" "${code}")
