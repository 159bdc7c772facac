# SPDX-License-Identifier: Apache-2.0
#
# muster_merge_suites(out program sources...)
#
# Makes one source of all suites of a folder and gives the names of those
# sources in `out`. A suite takes little time to compile by itself; most goes
# into the templates of the actor framework, which a merged source needs but
# once. Each suite gets a namespace of its own: for that, all headers come
# first, and what a suite includes again behind them is empty.

# What a compiler takes at once: more would need too much memory.
set(suites_per_source 8)

function(muster_merge_suites out program)
  set(merged)
  set(folders)
  foreach(source IN LISTS ARGN)
    get_filename_component(folder "${source}" DIRECTORY)
    list(APPEND folders "${folder}")
    list(APPEND sources_of_${folder} "${source}")
  endforeach()
  list(REMOVE_DUPLICATES folders)
  foreach(folder IN LISTS folders)
    list(LENGTH sources_of_${folder} count)
    math(EXPR last "${count} - 1")
    foreach(first RANGE 0 ${last} ${suites_per_source})
      list(SUBLIST sources_of_${folder} ${first} ${suites_per_source} batch)
      set(includes)
      set(body)
      foreach(source IN LISTS batch)
        file(STRINGS "${source}" lines REGEX "^#include ")
        list(APPEND includes ${lines})
        get_filename_component(name "${source}" NAME_WE)
        get_filename_component(path "${source}" ABSOLUTE)
        string(APPEND body "\n#undef CAF_SUITE\n"
               "namespace suite_${name} {\n#include \"${path}\"\n}\n")
        set_property(DIRECTORY APPEND PROPERTY
                     CMAKE_CONFIGURE_DEPENDS "${path}")
      endforeach()
      list(REMOVE_DUPLICATES includes)
      list(JOIN includes "\n" includes)
      set(file "${CMAKE_CURRENT_BINARY_DIR}/merged/${program}_${folder}_${first}.cpp")
      file(CONFIGURE OUTPUT "${file}" CONTENT "${includes}\n${body}" @ONLY)
      list(APPEND merged "${file}")
    endforeach()
  endforeach()
  set(${out} ${merged} PARENT_SCOPE)
endfunction()
