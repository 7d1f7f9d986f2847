"""The watcher: drop DICOM into a folder, get results in another, lose nothing. See docs/architecture.md, "The service".

    supervisor (imports neither numpy nor pydicom)     one loop: wake, scan, journal, watch over its children
      |-- reader   a process                            opens what others wrote: headers, copies into staging
      `-- workers  processes                            claim a job, predict, publish; the model stays loaded

A process dies alone: a bad file takes the reader's request or one job, never the service.
"""
